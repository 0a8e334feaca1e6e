/** What a timeline has to jump to: where NaN or Inf begins, stops, steps cut short, updates skipped, gaps, new graphs. */

import { findingGlyph, stepsOf, type PlacedFinding } from "./findings";
import { fileName, shortened } from "./format";
import type { RecordedSession } from "./recorded_session";
import type { GapSpan, Mark, Timeline, VariantSpan } from "./replay";
import { StepClock } from "./replay_spans";
import { replaySourceText as text } from "./text";

/** Of one kind; more are not listed. */
export const MOST_MARKS = 500;
/** Letters in what is said of a mark: a file may name its functions as it likes. */
const MOST_TEXT = 300;

/** What marks are made of, besides the session itself. */
export interface MarkSources {
  readonly timeline: Timeline;
  readonly variants: readonly VariantSpan[];
  readonly gaps: readonly GapSpan[];
  readonly findings?: readonly PlacedFinding[];
}

/** Marks in step order, and whether there were more of a kind. */
export interface Marks {
  readonly marks: readonly Mark[];
  readonly cut: boolean;
}

/** Everything that a session has to jump to. */
export function marksOf(session: RecordedSession, { timeline, variants, gaps, findings = [] }: MarkSources): Marks {
  const kinds = [
    nonfiniteMarks(timeline),
    stopMarks(session),
    interruptedMarks(session),
    skippedMarks(session),
    gaps.map(({ from, text }): Mark => ({ kind: "gap", step: from, stop: -1, text })),
    variantMarks(variants),
    findingMarks(findings, timeline),
  ];
  const marks = kinds.flatMap((found) => found.slice(0, MOST_MARKS)).sort((a, b) => a.step - b.step);
  return { marks: marks.map((mark) => ({ ...mark, text: shortened(mark.text, MOST_TEXT) })), cut: kinds.some((found) => found.length > MOST_MARKS) };
}

/** One for each stretch, at its first step. */
function nonfiniteMarks({ steps, nonfinite, loss, lossSeen }: Timeline): Mark[] {
  const marks: Mark[] = [];
  let before = false;
  for (let at = 0; at < steps.length && marks.length <= MOST_MARKS; at++) {
    const badLoss = lossSeen[at] === 1 && !Number.isFinite(loss[at]!);
    const bad = nonfinite[at]! > 0 || badLoss;
    if (bad && !before) marks.push({ kind: "nonfinite", step: steps[at]!, stop: -1, text: text.nonfinite(nonfinite[at]!, badLoss ? loss[at]! : null) });
    before = bad;
  }
  return marks;
}

/** A stop that names no step of this file stands where it came to be. */
function stopMarks({ stops, steps }: RecordedSession): Mark[] {
  if (steps.length === 0 || stops.length === 0) return [];
  const clock = new StepClock(steps);
  return stops.slice(0, MOST_MARKS + 1).map(({ number, step, time_ns, file, line, function: name }) => {
    const known = steps.position(step) >= 0 ? step : steps.number(clock.position(Number(time_ns)));
    return { kind: "stop", step: known, stop: number, text: text.stop(number, fileName(file), line, name) };
  });
}

function interruptedMarks({ steps }: RecordedSession): Mark[] {
  const marks: Mark[] = [];
  for (let at = 0; at < steps.length && marks.length <= MOST_MARKS; at++) {
    const reason = steps.complete(at) ? steps.interrupted(at) : text.cutShort;
    if (reason !== null) marks.push({ kind: "interrupted", step: steps.number(at), stop: -1, text: reason });
  }
  return marks;
}

function skippedMarks({ steps }: RecordedSession): Mark[] {
  const marks: Mark[] = [];
  for (let at = 0; at < steps.length && marks.length <= MOST_MARKS; at++) {
    if (steps.skipped(at)) marks.push({ kind: "skipped", step: steps.number(at), stop: -1, text: text.skipped });
  }
  return marks;
}

/** Where a finding is seen first. A note is no place to jump to, and NaN has its own marks. */
function findingMarks(findings: readonly PlacedFinding[], { steps }: Timeline): Mark[] {
  if (steps.length === 0) return [];
  return findings.flatMap(({ finding }): Mark[] => {
    const [first] = stepsOf(finding) ?? [];
    if (first === undefined || finding.severity === "note" || finding.kind === "nan" || finding.kind === "inf") return [];
    if (first < steps[0]! || first > steps[steps.length - 1]!) return [];
    return [{ kind: "finding", step: first, stop: -1, text: finding.title, glyph: findingGlyph(finding) }];
  });
}

/** Where each graph is met first; the first graph of all is no news. */
function variantMarks(spans: readonly VariantSpan[]): Mark[] {
  const seen = new Set(spans.slice(0, 1).map(({ graph }) => graph));
  const first = spans.filter(({ graph }) => !seen.has(graph) && seen.add(graph));
  return first.map(({ letter, from }) => ({ kind: "variant", step: from, stop: -1, text: text.variant(letter) }));
}

/** What a session looks like from afar: its timeline, and the facts beside it. */

import { placed, type PlacedFinding } from "./findings";
import type { RecordedSession } from "./recorded_session";
import type { Overview, RankItem, SessionFacts, Timeline } from "./replay";
import { marksOf, type Marks } from "./replay_marks";
import { unscaled } from "./replay_scale";
import { gapSpans, variantSpans, type Variants } from "./replay_spans";
import { replaySourceText as text } from "./text";
import { totalsUnread, type Totals } from "./replay_totals";
import type { Notice } from "./session";

/** More of a file's own notices are not sent. */
const MOST_NOTICES = 500;
/** More findings are not sent, nor more letters, lines and ids of one. */
const [MOST_FINDINGS, MOST_TITLE, MOST_SENTENCE, MOST_EVIDENCE, MOST_IDS] = [100, 120, 1000, 12, 10_000];
/** Letters of a notice, and of its traceback. */
const MOST_TEXT = 20_000;

/** What the session is a part of. */
export interface Setting {
  readonly name: string;
  readonly bytes: number;
  readonly ranks: readonly RankItem[];
  /** What is to be said of the files together. */
  readonly sentences: readonly string[];
}

/** `totals` null: they are not read yet. */
export function overviewOf(session: RecordedSession, setting: Setting, totals: Totals | null): Overview {
  const timeline = timelineOf(session, totals);
  const variants: Variants = totals ? variantSpans(totals.calls, session.steps) : { spans: [], cut: false };
  const gaps = gapSpans(session);
  const findings = placed(session.findings.slice(0, MOST_FINDINGS), session.sites).map(boundedFinding);
  const marks = marksOf(session, { timeline, variants: variants.spans, gaps, findings });
  return { facts: factsOf(session, setting, { variants, gaps, marks, findings }), timeline };
}

function timelineOf({ steps }: RecordedSession, totals: Totals | null): Timeline {
  const { gradientNorm, nonfinite, heldBytes } = totals ?? totalsUnread(steps.length);
  const lossSeen = new Uint8Array(steps.length);
  for (let position = 0; position < steps.length; position++) lossSeen[position] = steps.loss(position) === null ? 0 : 1;
  const lossScale = steps.lossScales();
  const norm = unscaled(gradientNorm, lossScale);
  return { steps: steps.numbers(), loss: steps.losses(), lossSeen, gradientNorm: norm, nonfinite, heldBytes, ...(lossScale ? { lossScale } : {}) };
}

interface Found {
  readonly variants: Variants;
  readonly gaps: SessionFacts["gaps"];
  readonly marks: Marks;
  readonly findings: readonly PlacedFinding[];
}

function factsOf(session: RecordedSession, { name, bytes, ranks, sentences }: Setting, { variants, gaps, marks, findings }: Found): SessionFacts {
  const cut = variants.cut || marks.cut ? [text.marksCut] : [];
  return {
    name,
    bytes,
    ranks,
    rank: session.run.rank,
    run: session.run,
    finished: session.finished,
    finish: session.finish,
    cost: costOf(session),
    marks: marks.marks,
    variants: variants.spans,
    gaps,
    notices: [...[...sentences, ...cut].map(ownNotice), ...session.notices.slice(0, MOST_NOTICES).map(bounded)],
    findings,
  };
}

/** A file may say what it likes; what is shown stays readable. */
function boundedFinding(one: PlacedFinding): PlacedFinding {
  const { title, sentence, fix = "", evidence = [], nodes = [], parameters = [] } = one.finding;
  const cut = (words: unknown, most: number): string => String(words).slice(0, most);
  const finding = {
    ...one.finding,
    title: cut(title, MOST_TITLE),
    sentence: cut(sentence, MOST_SENTENCE),
    fix: cut(fix, MOST_SENTENCE),
    evidence: evidence.slice(0, MOST_EVIDENCE).map((line) => cut(line, MOST_SENTENCE)),
    nodes: nodes.slice(0, MOST_IDS),
    parameters: parameters.slice(0, MOST_IDS),
  };
  return { ...one, finding };
}

function bounded(notice: Notice): Notice {
  const { text: said, traceback = null } = notice;
  if (said.length <= MOST_TEXT && (traceback?.length ?? 0) <= MOST_TEXT) return notice;
  return { ...notice, text: said.slice(0, MOST_TEXT), traceback: traceback?.slice(0, MOST_TEXT) ?? null };
}

function ownNotice(sentence: string): Notice {
  return { kind: "partial", text: sentence };
}

/** Time in gradwatch's own code over the time from the start to the last thing known. */
function costOf({ run, finish, steps }: RecordedSession): number {
  const start = Number(run.start_ns);
  if (finish) return shareOf(Number(finish.cost_ns), Number(finish.end_ns) - start);
  let [last, cost] = [-1, 0];
  for (let at = 0; at < steps.length && steps.complete(at); at++) [last, cost] = [at, cost + steps.costNs(at)];
  return last < 0 ? Number.NaN : shareOf(cost, Number(steps.endNs(last)) - start);
}

function shareOf(cost: number, time: number): number {
  return time > 0 ? cost / time : Number.NaN;
}

/** Stretches of steps: which had which graph, and of which something could not be read. */

import type { ChunkIndex } from "./mcap_index";
import type { Gap } from "./recorded_chunks";
import type { RecordedSession } from "./recorded_session";
import type { RecordedCalls, RecordedSteps } from "./recorded_steps";
import type { GapSpan, VariantSpan } from "./replay";
import { replaySourceText as text } from "./text";

/** More are not listed: they would lie closer together than a timeline can show. */
export const MOST_SPANS = 1000;

/** "A" to "Z", then "AA". */
export function letterOf(index: number): string {
  const last = String.fromCharCode(65 + (index % 26));
  return index < 26 ? last : letterOf(Math.floor(index / 26) - 1) + last;
}

/** Spans of consecutive steps with one graph, and what the letters stand for. */
export interface Variants {
  readonly spans: readonly VariantSpan[];
  /** There are more. */
  readonly cut: boolean;
}

/** Of each step's last backward call. A step without a graph belongs to none, and ends a span. */
export function variantSpans(calls: RecordedCalls, steps: RecordedSteps): Variants {
  const letters = new Map<number, string>();
  const graphs = calls.graphs(steps);
  const spans: VariantSpan[] = [];
  for (let start = 0, end = 0; start < graphs.length; start = end) {
    while (end < graphs.length && graphs[end] === graphs[start]) end++;
    const graph = graphs[start]!;
    if (graph < 0) continue;
    if (spans.length === MOST_SPANS) return { spans, cut: true };
    const letter = letters.get(graph) ?? letterOf(letters.size);
    letters.set(graph, letter);
    spans.push({ letter, graph, from: steps.number(start), to: steps.number(end - 1) });
  }
  return { spans, cut: false };
}

/** The steps during which unreadable records came to be. Where the file does not tell, a gap has no span. */
export function gapSpans(session: RecordedSession): readonly GapSpan[] {
  const { gaps, steps, reader } = session;
  if (gaps.length === 0 || steps.length === 0) return [];
  const clock = new StepClock(steps);
  const spans = new Map<string, { span: Omit<GapSpan, "text">; first: Gap; more: number }>();
  for (const gap of gaps) {
    const span = clock.span(timesOf(reader.index, gap.offset));
    const key = `${span.from} ${span.to}`;
    const known = spans.get(key);
    if (known) known.more++;
    else if (spans.size < MOST_SPANS) spans.set(key, { span, first: gap, more: 0 });
  }
  return Array.from(spans.values(), ({ span, first, more }) => ({ ...span, text: text.gap(first.topic, first.reason, more) }));
}

/** When the chunk at `offset` was written: as it says itself, else between its neighbours in the file. */
function timesOf(index: ChunkIndex, offset: number): readonly [number, number] {
  let [from, to] = [0, Infinity];
  for (const channel of index.channels) {
    const next = firstAt(index, channel, offset);
    if (next < index.count(channel)) {
      const entry = index.entry(channel, next);
      if (entry.offset === offset) return [Number(entry.startNs), Number(entry.endNs)];
      to = Math.min(to, Number(entry.startNs));
    }
    if (next > 0) from = Math.max(from, Number(index.entry(channel, next - 1).endNs));
  }
  return [from, to];
}

/** The first chunk of a channel that does not lie before `offset`. */
function firstAt(index: ChunkIndex, channel: number, offset: number): number {
  let [low, high] = [0, index.count(channel)];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (index.entry(channel, middle).offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Which step ran when. Ends rise from step to step; a file that says otherwise gets some step. */
export class StepClock {
  readonly #ends: Float64Array;

  constructor(private readonly steps: RecordedSteps) {
    this.#ends = Float64Array.from({ length: steps.length }, (_, position) => Number(steps.endNs(position) ?? Infinity));
  }

  /** The first step that had not ended at `ns`; the last one where all had. */
  position(ns: number): number {
    let [low, high] = [0, this.#ends.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ends[middle]! < ns) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** From the step that ran at one time to the one that ran at the other; where none did, those that are missing between. */
  span([fromNs, toNs]: readonly [number, number]): { readonly from: number; readonly to: number } {
    const from = this.position(fromNs);
    let to = this.position(toNs);
    if (to > from && Number(this.steps.startNs(to) ?? -Infinity) > toNs) to--;
    const missingFrom = from === 0 ? 0 : this.steps.number(from - 1) + 1;
    const missingTo = this.steps.number(from) - 1;
    const ranBefore = Number(this.steps.startNs(from) ?? -Infinity) > toNs;
    if (ranBefore && missingFrom <= missingTo) return { from: missingFrom, to: missingTo };
    return { from: this.steps.number(from), to: Math.max(this.steps.number(from), this.steps.number(to)) };
  }
}

/** The timeline in numbers: where a step stands, one lowest and highest value for each pixel, axes and ticks. */

import type { Timeline } from "./replay";

/** Steps from left to right. One step alone stands in the middle. */
export interface StepScale {
  readonly first: number;
  readonly last: number;
  readonly width: number;
}

export function stepScale(steps: Float64Array, width: number): StepScale {
  return { first: steps[0] ?? 0, last: steps[steps.length - 1] ?? 0, width: Math.max(1, width) };
}

/** From 0 to `width`. */
export function xOf({ first, last, width }: StepScale, step: number): number {
  return last === first ? width / 2 : ((step - first) / (last - first)) * width;
}

/** The step at a place, whether it was recorded or not. */
export function stepAt({ first, last, width }: StepScale, x: number): number {
  return first + Math.max(0, Math.min(1, x / width)) * (last - first);
}

/** Position of the recorded step that is nearest; -1 where there is none. */
export function nearest(steps: Float64Array, step: number): number {
  if (steps.length === 0) return -1;
  const above = firstFrom(steps, step);
  if (above === 0) return 0;
  if (above === steps.length) return above - 1;
  return step - steps[above - 1]! <= steps[above]! - step ? above - 1 : above;
}

/** Position of the first step at or after one; `steps.length` where there is none. */
export function firstFrom(steps: Float64Array, step: number): number {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle]! < step) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Position of exactly this step; -1 for none. */
export function positionOf(steps: Float64Array, step: number): number {
  const at = firstFrom(steps, step);
  return steps[at] === step ? at : -1;
}

/** Values over steps: what is not finite is not drawn. */
export interface Series {
  readonly steps: Float64Array;
  readonly values: Float64Array;
}

/** For each pixel with a finite value: where it is, its first, lowest, highest and last. `breaks`: the step before had no value. */
export interface Columns {
  readonly count: number;
  readonly x: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
  readonly enter: Float64Array;
  readonly leave: Float64Array;
  readonly breaks: Uint8Array;
}

/** The steps that an axis has room for: another run may be longer, or begin before. */
export function withinScale(timeline: Timeline, { first, last }: StepScale): Timeline {
  const { steps, loss, lossSeen, gradientNorm, nonfinite, heldBytes, lossScale } = timeline;
  const [from, to] = [firstFrom(steps, first), firstFrom(steps, last + 1)];
  if (from === 0 && to === steps.length) return timeline;
  const cut = (values: Float64Array): Float64Array => values.subarray(from, to);
  return { steps: cut(steps), loss: cut(loss), lossSeen: lossSeen.subarray(from, to), gradientNorm: cut(gradientNorm), nonfinite: cut(nonfinite), heldBytes: cut(heldBytes), ...(lossScale ? { lossScale: cut(lossScale) } : {}) };
}

/** One entry a pixel, however many steps: no spike is lost, and drawing takes the same time for any run. Steps beyond the axis are left out. */
export function columnsOf({ steps, values }: Series, scale: StepScale): Columns {
  const most = Math.min(steps.length, Math.ceil(scale.width) + 1);
  const make = (): Float64Array => new Float64Array(most);
  const columns = { x: make(), low: make(), high: make(), enter: make(), leave: make(), breaks: new Uint8Array(most) };
  let [count, pixel, broken] = [0, -1, true];
  for (let i = 0; i < steps.length; i++) {
    const value = values[i]!;
    const step = steps[i]!;
    if (!Number.isFinite(value) || step < scale.first || step > scale.last) {
      broken = true;
      continue;
    }
    const x = xOf(scale, step);
    const at = Math.floor(x);
    if (at !== pixel || count === 0) {
      pixel = at;
      columns.x[count] = x;
      columns.low[count] = columns.high[count] = columns.enter[count] = value;
      columns.breaks[count] = broken ? 1 : 0;
      count++;
    }
    const column = count - 1;
    columns.low[column] = Math.min(columns.low[column]!, value);
    columns.high[column] = Math.max(columns.high[column]!, value);
    columns.leave[column] = value;
    broken = false;
  }
  return { count, ...columns };
}

/** Values from bottom to top. */
export interface ValueAxis {
  readonly kind: "linear" | "log";
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/** From 0 at the bottom to 1 at the top; what lies beyond stands on the edge. */
export function shareOf({ kind, low, high }: ValueAxis, value: number): number {
  const of = (one: number): number => (kind === "log" ? Math.log10(Math.max(one, Number.MIN_VALUE)) : one);
  return Math.max(0, Math.min(1, (of(value) - of(low)) / (of(high) - of(low))));
}

/** Lowest and highest finite values of all; null where there is none. */
export function extentOf(all: readonly Float64Array[], above = Number.NEGATIVE_INFINITY): readonly [number, number] | null {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const values of all) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value) || value <= above) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low > high ? null : [low, high];
}

/** Round numbers around the values; a constant gets room on both sides. */
export function linearAxis(extent: readonly [number, number], wanted: number): ValueAxis {
  const [least, most] = extent[0] === extent[1] ? roomAround(extent[0]) : extent;
  const pad = (most - least) * 0.06;
  const [low, high] = [least - pad, most + pad];
  return { kind: "linear", low, high, ticks: roundWithin(low, high, wanted) };
}

/** At least two where round numbers allow it: one alone gives no scale. */
function roundWithin(low: number, high: number, wanted: number): number[] {
  for (let part = 1; ; part *= 2) {
    const ticks = multiplesWithin(niceStep((high - low) / (wanted * part)), low, high);
    if (ticks.length > 1 || part > 4) return ticks;
  }
}

/** Bytes: always from zero. */
export function bytesAxis(most: number, wanted: number): ValueAxis {
  const unit = 1024 ** Math.max(0, Math.min(4, Math.floor(Math.log2(Math.max(1, most)) / 10)));
  const every = niceStep(most / unit / wanted) * unit;
  const high = Math.max(every, most * 1.08);
  return { kind: "linear", low: 0, high, ticks: multiplesWithin(every, 0, high) };
}

/** Whole decades around the values. */
export function logAxis([low, high]: readonly [number, number], wanted: number): ValueAxis {
  const bottom = Math.floor(Math.log10(low));
  const top = Math.max(bottom + 1, Math.ceil(Math.log10(high)));
  const every = Math.max(1, Math.ceil((top - bottom) / wanted));
  const ticks: number[] = [];
  for (let exponent = Math.ceil(bottom / every) * every; exponent <= top; exponent += every) ticks.push(10 ** exponent);
  return { kind: "log", low: 10 ** bottom, high: 10 ** top, ticks };
}

/** Of evenly spaced ticks as many as can be labelled, evenly spaced again: `apart` pixels lie between two labels. */
export function labelled(ticks: readonly number[], placeOf: (tick: number) => number, apart: number): readonly number[] {
  for (let every = 1; every < ticks.length; every++) {
    const kept = ticks.filter((_, at) => at % every === 0);
    if (kept.every((tick, at) => at === 0 || Math.abs(placeOf(tick) - placeOf(kept[at - 1]!)) >= apart)) return kept;
  }
  return ticks.slice(0, 1);
}

function roomAround(value: number): readonly [number, number] {
  const room = Math.abs(value) / 2 || 1;
  return [value - room, value + room];
}

/** 1, 2 or 5 times a power of ten. */
export function niceStep(rough: number): number {
  if (!(rough > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999)! * power;
}

function multiplesWithin(every: number, low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let at = Math.ceil(low / every); at * every <= high && ticks.length < 50; at++) ticks.push(at * every);
  return ticks;
}

/** Round step numbers, at least `apart` pixels from each other. */
export function stepTicks(scale: StepScale, apart: number): number[] {
  const { first, last, width } = scale;
  if (last === first) return [first];
  const every = Math.max(1, niceStep(((last - first) * apart) / width));
  return multiplesWithin(every, first, last);
}

/** Norms over steps that are not 0: a decade has no place for it. */
export function positive(values: Float64Array): Float64Array {
  return values.map((value) => (value > 0 ? value : Number.NaN));
}

/** Places of the steps that `wanted` names, `apart` pixels from each other: of more than can be told apart, the first. */
export function thinned(steps: Float64Array, wanted: (position: number) => boolean, scale: StepScale, apart: number): number[] {
  const kept: number[] = [];
  let last = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < steps.length; i++) {
    if (!wanted(i)) continue;
    const x = xOf(scale, steps[i]!);
    if (x - last < apart) continue;
    kept.push(i);
    last = x;
  }
  return kept;
}

function noScale(length: number): Float64Array {
  return new Float64Array(length).fill(Number.NaN);
}

/** The timeline with everything from position `from` on replaced. */
export function grownTimeline(known: Timeline, from: number, more: Timeline): Timeline {
  const floats = (a: Float64Array, b: Float64Array): Float64Array => {
    const all = new Float64Array(from + b.length);
    all.set(a.subarray(0, from));
    all.set(b, from);
    return all;
  };
  const lossSeen = new Uint8Array(from + more.lossSeen.length);
  lossSeen.set(known.lossSeen.subarray(0, from));
  lossSeen.set(more.lossSeen, from);
  return {
    steps: floats(known.steps, more.steps),
    loss: floats(known.loss, more.loss),
    lossSeen,
    gradientNorm: floats(known.gradientNorm, more.gradientNorm),
    nonfinite: floats(known.nonfinite, more.nonfinite),
    heldBytes: floats(known.heldBytes, more.heldBytes),
    ...(known.lossScale || more.lossScale ? { lossScale: floats(known.lossScale ?? noScale(from), more.lossScale ?? noScale(more.steps.length)) } : {}),
  };
}

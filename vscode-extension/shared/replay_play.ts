/** Playing a session: which step is due, and which moment a key or a jump leads to. */

import type { Mark, Moment, Timeline } from "./replay";
import { firstFrom, nearest, positionOf } from "./replay_timeline";

/** Steps a second. */
export const SPEEDS = [1, 5, 10, 30, 100] as const;
export type Speed = (typeof SPEEDS)[number];

/** How far PgUp and PgDn go. */
export const FAR = 50;

/** Since when, and from which position. */
export interface Playing {
  readonly sinceMs: number;
  readonly from: number;
  readonly speed: Speed;
}

/** The position that is due; at the last, playing is over. */
export function duePosition({ sinceMs, from, speed }: Playing, nowMs: number, count: number): { readonly position: number; readonly over: boolean } {
  const position = from + Math.floor((Math.max(0, nowMs - sinceMs) / 1000) * speed);
  return { position: Math.min(position, count - 1), over: position >= count - 1 };
}

/** Several steps on or back. A stop is within its step: the step's end is one on from it. */
export function stepBy({ steps }: Timeline, at: Moment, marks: readonly Mark[], by: number): Moment | null {
  const here = stepOf(at, marks);
  const after = at.kind === "stop" && by > 0 ? by - 1 : by;
  const base = positionOf(steps, here) >= 0 ? positionOf(steps, here) : by > 0 ? firstFrom(steps, here) - (at.kind === "stop" ? 0 : 1) : firstFrom(steps, here);
  return momentAt(steps, at.rank, Math.max(0, Math.min(steps.length - 1, base + after)));
}

/** The step at a position; null where there is none. */
export function momentAt(steps: Float64Array, rank: number, position: number): Moment | null {
  const step = steps[position];
  return step === undefined ? null : { kind: "step", rank, step };
}

/** The recorded step that is nearest to one. */
export function momentNear(steps: Float64Array, rank: number, step: number): Moment | null {
  return momentAt(steps, rank, nearest(steps, step));
}

/** The step that a moment belongs to; -1 for a stop that the marks do not know. */
export function stepOf(at: Moment, marks: readonly Mark[]): number {
  return at.kind === "step" ? at.step : (marks.find(({ stop }) => stop === at.stop)?.step ?? -1);
}

/** In order, a stop before the end of its step. */
type Place = readonly [step: number, stop: number];

function placeOf(at: Moment, marks: readonly Mark[]): Place {
  return [stepOf(at, marks), at.kind === "stop" ? at.stop : Number.POSITIVE_INFINITY];
}

function compare(a: Place, b: Place): number {
  return a[0] - b[0] || (a[1] === b[1] ? 0 : a[1] - b[1]);
}

/** Marks that are jumped to: of steps in a row that are all non-finite, the first. */
export function jumps(marks: readonly Mark[], steps: Float64Array): readonly Mark[] {
  const rows = new Set(marks.filter(({ kind }) => kind === "nonfinite").map(({ step }) => positionOf(steps, step)));
  const starts = (mark: Mark): boolean => mark.kind !== "nonfinite" || !rows.has(positionOf(steps, mark.step) - 1);
  return marks.filter(starts).sort((a, b) => compare(markPlace(a), markPlace(b)));
}

function markPlace({ step, stop }: Mark): Place {
  return [step, stop >= 0 ? stop : Number.POSITIVE_INFINITY];
}

/** The mark after or before a moment; null where there is none. Of several at one moment the first. */
export function markFrom(at: Moment, marks: readonly Mark[], steps: Float64Array, direction: 1 | -1): Mark | null {
  const here = placeOf(at, marks);
  const ordered = jumps(marks, steps);
  if (direction === 1) return ordered.find((mark) => compare(markPlace(mark), here) > 0) ?? null;
  return ordered.filter((mark) => compare(markPlace(mark), here) < 0).at(-1) ?? null;
}

/** Where a mark leads: a stop to what was found there, any other to the step or, in a gap, to the nearest that was read. */
export function momentOfMark(mark: Mark, rank: number, steps: Float64Array): Moment | null {
  if (mark.stop >= 0) return { kind: "stop", rank, stop: mark.stop };
  return momentNear(steps, rank, mark.step);
}

export function sameMoment(a: Moment | null, b: Moment | null): boolean {
  if (a === null || b === null) return a === b;
  return a.rank === b.rank && (a.kind === "step" ? b.kind === "step" && a.step === b.step : b.kind === "stop" && a.stop === b.stop);
}

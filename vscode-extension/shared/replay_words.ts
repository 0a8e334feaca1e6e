/** What the replay page says in words: title, what a step had, and the numbers beside the timeline. */

import { exactCount, fileName, formatBytes, formatCount, formatRatio, magnitude, MISSING, plainNumber } from "./format";
import type { Timeline } from "./replay";
import { currentPosition, currentStep, marksAt, type ReplayModel } from "./replay_model";
import { positionOf } from "./replay_timeline";
import { replayText as text } from "./text";

/** "Replay step 812 of 1000", "Live, step 812", "Stop 3 at model.py:51". */
export function titleOf(model: ReplayModel): string {
  const { at, shown, timeline, growing, follow, facts } = model;
  if (at === null) return text.noStep;
  if (at.kind === "stop") {
    const stop = shown?.at.kind === "stop" && shown.at.stop === at.stop ? shown.snapshot.stop : null;
    return text.stop(at.stop, stop && stop.file !== "" ? `${fileName(stop.file)}:${stop.line}` : "");
  }
  const step = formatCount(at.step);
  return follow && growing && facts?.finished === false ? text.live(step) : text.step(stepNumber(at.step), countOf(timeline));
}

/** A step's number is read to the digit: never "12.3 k". */
export function stepNumber(step: number): string {
  return String(step);
}

/** Steps count from 0: then their number says how many; else from which to which. */
function countOf({ steps }: Timeline): string {
  const [first, last] = [steps[0] ?? 0, steps[steps.length - 1] ?? 0];
  return first === 0 && last === steps.length - 1 ? stepNumber(steps.length) : text.stepsFromTo(stepNumber(first), stepNumber(last));
}

/** What a screen reader hears of the playhead: "step 812, NaN". */
export function playheadWords(model: ReplayModel): string {
  const step = currentStep(model);
  return step < 0 ? "" : text.valueText(stepNumber(step), stepWords(model));
}

/** What is to be said of the playhead's step beside its number. */
export function stepWords(model: ReplayModel): string[] {
  const { at, facts, timeline } = model;
  const step = currentStep(model);
  const position = positionOf(timeline.steps, step);
  const { marks, gap } = marksAt(model, step);
  const words: string[] = [];
  if (at?.kind === "stop") words.push(text.stopWord(at.stop));
  if (position >= 0 && timeline.nonfinite[position]! > 0) words.push("NaN");
  if (marks.some(({ kind }) => kind === "interrupted")) words.push(text.interruptedWord);
  if (marks.some(({ kind }) => kind === "skipped")) words.push(text.skippedWord);
  if (gap) words.push(text.gapWord);
  const variant = facts?.variants.find(({ from, to }) => step >= from && step <= to);
  if (variant && variant.letter !== "A") words.push(text.graphVariant(variant.letter));
  return words;
}

/** One number of the playhead's step, and of the session it is compared with. */
export interface ValueWords {
  readonly value: string;
  readonly wrong: boolean;
  /** "baseline 2.73, +0.25"; "" where nothing is compared. */
  readonly compared: string;
}

export interface RowWords {
  readonly loss: ValueWords;
  readonly norm: ValueWords;
  readonly held: ValueWords;
}

/** The numbers at the right of the timeline. */
export function rowWords(model: ReplayModel, other: Timeline | null, name: string): RowWords {
  const { timeline } = model;
  const at = currentPosition(model);
  const beside = other === null ? -1 : positionOf(other.steps, currentStep(model));
  return {
    loss: lossWords(timeline, at, other, beside, name),
    norm: normWords(timeline, at, other, beside, name),
    held: heldWords(timeline, at, other, beside, name),
  };
}

function lossWords(timeline: Timeline, at: number, other: Timeline | null, beside: number, name: string): ValueWords {
  const seen = (of: Timeline, position: number): number | null => (of.lossSeen[position] === 1 ? of.loss[position]! : null);
  const value = seen(timeline, at);
  const compared = other === null ? null : seen(other, beside);
  const difference = finite(value) && finite(compared) ? signed(value - compared, plainValue) : "";
  return { value: plainValue(value), wrong: value !== null && !Number.isFinite(value), compared: words(other, name, plainValue(compared), difference) };
}

function normWords(timeline: Timeline, at: number, other: Timeline | null, beside: number, name: string): ValueWords {
  const normOf = (of: Timeline, position: number): number | null => (Number.isNaN(of.gradientNorm[position] ?? Number.NaN) ? null : of.gradientNorm[position]!);
  const bad = (timeline.nonfinite[at] ?? 0) > 0;
  const value = normOf(timeline, at);
  const compared = other === null ? null : normOf(other, beside);
  const difference = !bad && finite(value) && finite(compared) && compared > 0 ? formatRatio(value / compared) : "";
  const scaled = other === null && !bad && finite(value) ? scaledWords(timeline, at, value) : "";
  return { value: bad ? "NaN" : plainNumber(value), wrong: bad, compared: scaled || words(other, name, plainNumber(compared), difference) };
}

/** As it was accumulated; "" where the step has no loss scale. */
function scaledWords({ lossScale }: Timeline, at: number, value: number): string {
  const scale = lossScale?.[at] ?? Number.NaN;
  return scale > 0 ? text.scaledNorm(plainNumber(value * scale)) : "";
}

/** The loss scale of the playhead's step; null where it has none. */
export function lossScaleAt(model: ReplayModel): number | null {
  const scale = model.timeline.lossScale?.[currentPosition(model)] ?? Number.NaN;
  return scale > 0 ? scale : null;
}

/** "65,536"; one that is no whole number in three digits. */
export function scaleWords(scale: number): string {
  return Number.isInteger(scale) && scale < 1e12 ? exactCount(scale) : plainNumber(scale);
}

function heldWords(timeline: Timeline, at: number, other: Timeline | null, beside: number, name: string): ValueWords {
  const value = timeline.heldBytes[at] ?? Number.NaN;
  const compared = other?.heldBytes[beside] ?? Number.NaN;
  const difference = Number.isNaN(value) || Number.isNaN(compared) ? "" : signed(value - compared, formatBytes);
  return { value: formatBytes(value), wrong: false, compared: words(other, name, formatBytes(compared), difference) };
}

function words(other: Timeline | null, name: string, value: string, difference: string): string {
  return other === null ? "" : text.compared(name, value, difference);
}

function finite(value: number | null): value is number {
  return value !== null && Number.isFinite(value);
}

function signed(value: number, format: (size: number) => string): string {
  return value === 0 ? "±0" : `${value > 0 ? "+" : "−"}${format(Math.abs(value))}`;
}

/** Three digits, as a loss is read: 2.98, 0.0412; far from 1 as a magnitude. */
export function plainValue(value: number | null): string {
  if (value === null) return MISSING;
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size === 0) return magnitude(value).mantissa;
  if (size >= 9999.5 || size < 0.001) return plainNumber(value);
  const digits = size >= 999.5 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(digits, 5)).replace("-", "−");
}

/** What a bench measured, in the form of figures.py: `run.py` gathers the files that both write. */

import { writeFileSync } from "node:fs";

const VERSION = 1;

/** The median of one measurement, and its first and third quartile. */
export interface Figure {
  readonly what: string;
  /** The program or input that it was measured on. */
  readonly on: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** "x" where it is a ratio. */
  readonly unit: string;
  /** What is aimed at: at most, or at least where `more_is_better`; null where nothing is. */
  readonly wanted: number | null;
  readonly more_is_better: boolean;
}

/** The figure of several measurements of the same. Throws where there is none. */
export function figureOf(what: string, on: string, values: readonly number[], more: Partial<Pick<Figure, "unit" | "wanted" | "more_is_better">> = {}): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, value, high] = [quartile(sorted, 1), quartile(sorted, 2), quartile(sorted, 3)];
  return { what, on, value, low, high, unit: "x", wanted: null, more_is_better: false, ...more };
}

/** As Python's statistics.quantiles has it. */
function quartile(sorted: readonly number[], quarter: 1 | 2 | 3): number {
  const [only] = sorted;
  if (only === undefined) throw new Error("nothing was measured");
  if (sorted.length === 1) return only;
  const place = (quarter * (sorted.length + 1)) / 4;
  const at = Math.min(Math.max(Math.floor(place), 1), sorted.length - 1);
  const [below, above] = [sorted[at - 1] ?? Number.NaN, sorted[at] ?? Number.NaN];
  return below + (above - below) * (place - at);
}

/** Whether it is as good as wanted; null where nothing is wanted. */
export function isReached({ value, wanted, more_is_better }: Figure): boolean | null {
  if (wanted === null) return null;
  return more_is_better ? value >= wanted : value <= wanted;
}

/** Writes the figures. Nothing where `path` is undefined. */
export function writeFigures(path: string | undefined, figures: readonly Figure[]): void {
  if (path !== undefined) writeFileSync(path, `${JSON.stringify({ version: VERSION, figures }, null, 2)}\n`);
}

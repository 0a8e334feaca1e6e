/** What a bench measured, in the form of figures.py. */

import { writeFileSync } from "node:fs";

export interface Figure {
  readonly what: string;
  readonly on: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly unit: string;
  readonly wanted: number | null;
}

/** The median of `values`, its first and third quartile. */
export function figureOf(what: string, on: string, values: readonly number[], unit: string, wanted: number | null = null): Figure {
  return { what, on, value: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75), unit, wanted };
}

export function writeFigures(file: string | undefined, figures: readonly Figure[]): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify({ version: 1, node: process.version, figures }, null, 2)}\n`);
}

/** Interpolated, as numpy's. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN];
  return low + (high - low) * (at % 1);
}

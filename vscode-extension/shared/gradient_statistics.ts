/** Statistics of gradients out of a snapshot's columns: one object for each parameter that was read. */

import { numbers, type Numbers } from "./answer";
import { lossScaleOf, type StepSnapshot } from "./recorded_step";
import { HISTOGRAM_BINS, HISTOGRAM_LOWEST_EXPONENT, type Column, type Gradients, type Histograms } from "./session";

/** Of one gradient, or of a module's gradients together. Sizes are over finite values; NaN: not known. */
export interface GradientStatistics {
  readonly count: number;
  readonly zeros: number;
  readonly nan: number;
  readonly inf: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly norm: number;
  readonly absMax: number;
  readonly rms: number;
  /** Lower edge of the lowest filled bin of the histogram. */
  readonly smallest: number;
  /** Codes of HISTOGRAM_BINS bins, as in the contract: of the values as accumulated, with the loss scale. */
  readonly histogram: Uint8Array | null;
}

/** By parameter id, without the loss scale. Where a parameter occurs twice the later entry holds. */
export function parameterStatistics(snapshot: StepSnapshot): Map<number, GradientStatistics> {
  const codes = parameterHistograms(snapshot.histograms ?? []);
  const found = new Map<number, GradientStatistics>();
  for (const gradients of snapshot.gradients ?? []) {
    if (gradients.subject_kind !== "parameter") continue;
    const ids = numbers(gradients.subjects);
    const read = statisticsReader(gradients, lossScaleOf(snapshot));
    for (let row = 0; row < ids.length; row++) found.set(ids[row]!, read(row, codes.get(ids[row]!) ?? null));
  }
  return found;
}

/** This rank's own gradient, before it was reduced over the ranks. */
export interface LocalNorm {
  readonly norm: number;
  readonly nonfinite: number;
}

/** By parameter id, of the last backward call, without the loss scale; empty where the program reduces nothing. */
export function localNorms(snapshot: StepSnapshot): Map<number, LocalNorm> {
  const found = new Map<number, LocalNorm>();
  for (const gradients of snapshot.gradients ?? []) {
    if (gradients.subject_kind !== "local") continue;
    const read = statisticsReader(gradients, lossScaleOf(snapshot));
    numbers(gradients.subjects).forEach((id, row) => {
      const { norm, nan, inf } = read(row, null);
      found.set(id, { norm, nonfinite: nan + inf });
    });
  }
  return found;
}

function parameterHistograms(histograms: readonly Histograms[]): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (const record of histograms) {
    if (record.subject_kind !== "parameter") continue;
    const ids = numbers(record.subjects);
    const codes = record.codes.data;
    for (let row = 0; row < ids.length; row++) {
      found.set(ids[row]!, codes.subarray(row * HISTOGRAM_BINS, (row + 1) * HISTOGRAM_BINS));
    }
  }
  return found;
}

type RowReader = (row: number, histogram: Uint8Array | null) => GradientStatistics;

/** A column that is not there reads NaN: unseen is never 0. */
function statisticsReader(gradients: Gradients, scale: number): RowReader {
  const column = (name: string): ((row: number) => number) => reader(gradients.columns[name]);
  const [count, zeros, nan, inf] = [column("count"), column("zeros"), column("nan"), column("inf")];
  const size = (name: string): ((row: number) => number) => {
    const scaled = column(name);
    return scale === 1 ? scaled : (row) => scaled(row) / scale;
  };
  const [min, max, mean, l2] = [size("min"), size("max"), size("mean"), size("l2")];
  return (row, histogram) => {
    const norm = l2(row);
    const finite = count(row) - nan(row) - inf(row);
    return {
      count: count(row),
      zeros: zeros(row),
      nan: nan(row),
      inf: inf(row),
      min: min(row),
      max: max(row),
      mean: mean(row),
      norm: finite > 0 ? norm : Number.NaN,
      absMax: Math.max(Math.abs(min(row)), Math.abs(max(row))),
      rms: finite > 0 ? norm / Math.sqrt(finite) : Number.NaN,
      smallest: smallestMagnitude(histogram) / scale,
      histogram,
    };
  };
}

function reader(column: Column | undefined): (row: number) => number {
  const values: Numbers | null = column === undefined ? null : numbers(column);
  return (row) => values?.[row] ?? Number.NaN;
}

function smallestMagnitude(histogram: Uint8Array | null): number {
  const bin = histogram?.findIndex((code) => code > 0) ?? -1;
  return bin < 0 ? Number.NaN : binLowerEdge(bin);
}

/** The smallest magnitude that bin `bin` counts (the first bin is open downwards). */
export function binLowerEdge(bin: number): number {
  return 2 ** (bin + HISTOGRAM_LOWEST_EXPONENT);
}

/** Values in a bin, out of its code: within 4.5 %. */
function binCount(code: number): number {
  return code === 0 ? 0 : Math.round(2 ** ((code - 1) / 8));
}

/** Several gradients as one: counts and squares add up. null when there are none. The histogram is left out. */
export function together(all: readonly GradientStatistics[]): GradientStatistics | null {
  if (all.length <= 1) return all[0] ?? null;
  // Local numbers: fields of an object would be allocated anew at every addition.
  let [count, zeros, nan, inf, finite, squares, sum] = [0, 0, 0, 0, 0, 0, 0];
  let [min, max, absMax, smallest] = [Number.NaN, Number.NaN, Number.NaN, Number.NaN];
  for (const one of all) {
    count += one.count;
    zeros += one.zeros;
    nan += one.nan;
    inf += one.inf;
    smallest = least(smallest, one.smallest);
    const values = one.count - one.nan - one.inf;
    if (values === 0) continue;
    finite += values;
    squares += one.norm * one.norm;
    sum += one.mean * values;
    min = least(min, one.min);
    max = greatest(max, one.max);
    absMax = greatest(absMax, one.absMax);
  }
  const norm = finite > 0 ? Math.sqrt(squares) : Number.NaN;
  const rms = norm / Math.sqrt(finite);
  return { count, zeros, nan, inf, min, max, mean: sum / finite, norm, absMax, rms, smallest, histogram: null };
}

/** Of two, either of which may be NaN for not known. */
function least(a: number, b: number): number {
  return b < a || Number.isNaN(a) ? b : a;
}

function greatest(a: number, b: number): number {
  return b > a || Number.isNaN(a) ? b : a;
}

/** Values by bin; null as soon as one histogram is missing: a part would pass for the whole. */
export function histogramCounts(histograms: readonly (Uint8Array | null)[]): Float64Array | null {
  if (histograms.length === 0) return null;
  const counts = new Float64Array(HISTOGRAM_BINS);
  for (const histogram of histograms) {
    if (histogram === null) return null;
    for (let bin = 0; bin < HISTOGRAM_BINS; bin++) counts[bin]! += binCount(histogram[bin] ?? 0);
  }
  return counts;
}

/**
 * When two gradients part: their statistics, side by side, against a tolerance. Statistics can agree where values differ
 * (two elements that changed places), so "no difference" only means that none is seen in the statistics.
 */

import type { Numbers } from "./answer";
import type { StatisticName } from "./recorded_curve";

/**
 * How far two gradients may lie apart and still count as the same; zero for both means exactly. A statistic parts where
 * |a - b| > rtol * scale + atol * unit. The scale is the larger of the two norms for `l1` and `l2`; the largest absolute
 * element of either for `min` and `max`; the mean absolute element for `mean`, whose sum cancels; the number of elements
 * for `zeros` and `subnormals`. `atol` is what one element may be off by, so the unit is 1 for `min`, `max` and `mean`,
 * sqrt(count) for `l2` and count for `l1`. `count`, `nan` and `inf` must be equal.
 */
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

export const DEFAULT_TOLERANCE: Tolerance = { rtol: 1e-4, atol: 1e-8 };
export const EXACT: Tolerance = { rtol: 0, atol: 0 };

/** Statistics in columns: counts are -1 and the rest NaN where they were not recorded. */
export type StatisticColumns = Readonly<Record<StatisticName, Numbers>>;

/** One statistic of two rows. `relative` is |a - b| by its scale; infinite where that is 0. */
export interface Gap {
  readonly statistic: StatisticName;
  readonly a: number;
  readonly b: number;
  readonly relative: number;
  readonly parts: boolean;
}

/** `parts` is 1 where any statistic of a pair of rows does, `relative` the largest. */
export interface RowGaps {
  readonly parts: Uint8Array;
  readonly relative: Float64Array;
}

/** Whether two numbers, such as losses, part. NaN equals NaN. */
export function numbersPart(a: number, b: number, { rtol, atol }: Tolerance): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return false;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return true;
  return Math.abs(a - b) > atol + rtol * Math.max(Math.abs(a), Math.abs(b));
}

/** |a - b| by the larger of the two; 0 for two NaN, infinite where one alone is not finite. */
export function relativeDifference(a: number, b: number): number {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return 0;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return Infinity;
  return Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));
}

/** Some rows of one side. */
export interface ChosenRows {
  readonly columns: StatisticColumns;
  readonly rows: Uint32Array;
}

/** Compares row by row; `differing` leaves out statistics that are known to be the same in all. */
export function rowGaps(a: ChosenRows, b: ChosenRows, tolerance: Tolerance, differing: readonly StatisticName[]): RowGaps {
  const parts = new Uint8Array(a.rows.length);
  const relative = new Float64Array(a.rows.length);
  const measure = new Measure(a.columns, b.columns, tolerance);
  for (let i = 0; i < parts.length; i++) {
    measure.at(a.rows[i]!, b.rows[i]!);
    for (const statistic of differing) {
      const gap = measure.gap(statistic);
      if (gap === 0) continue;
      if (gap > measure.limit(statistic)) parts[i] = 1;
      relative[i] = Math.max(relative[i]!, measure.share(statistic, gap));
    }
  }
  return { parts, relative };
}

/** Every statistic of one row of each: those that part first, then by how far. */
export function gapsOfRow(a: StatisticColumns, rowA: number, b: StatisticColumns, rowB: number, tolerance: Tolerance): Gap[] {
  const measure = new Measure(a, b, tolerance);
  measure.at(rowA, rowB);
  const found = ORDER.map((statistic): Gap => {
    const gap = measure.gap(statistic);
    const values = { a: a[statistic][rowA]!, b: b[statistic][rowB]! };
    return { statistic, ...values, relative: measure.share(statistic, gap), parts: gap > measure.limit(statistic) };
  });
  return found.sort((x, y) => Number(y.parts) - Number(x.parts) || furtherFirst(x.relative, y.relative));
}

/** Infinite less infinite is no number. */
function furtherFirst(x: number, y: number): number {
  return x === y ? 0 : y - x;
}

const ORDER: readonly StatisticName[] = ["l2", "l1", "max", "min", "mean", "zeros", "subnormals", "nan", "inf", "count"];

/** Two rows side by side; `at` chooses which. */
class Measure {
  #rowA = 0;
  #rowB = 0;
  #count = 0;
  #largest = 0;

  constructor(
    private readonly a: StatisticColumns,
    private readonly b: StatisticColumns,
    private readonly tolerance: Tolerance,
  ) {}

  at(rowA: number, rowB: number): void {
    const { a, b } = this;
    this.#rowA = rowA;
    this.#rowB = rowB;
    this.#count = Math.max(a.count[rowA]!, b.count[rowB]!, 0);
    this.#largest = Math.max(size(a.min[rowA]!), size(a.max[rowA]!), size(b.min[rowB]!), size(b.max[rowB]!));
  }

  /** |a - b|, and 0 where one is not known: a count of -1, or NaN, which the counts of NaN and Inf decide. */
  gap(statistic: StatisticName): number {
    const [left, right] = [this.a[statistic][this.#rowA]!, this.b[statistic][this.#rowB]!];
    const known = COUNTS.has(statistic) ? left >= 0 && right >= 0 : !Number.isNaN(left) && !Number.isNaN(right);
    return known && left !== right ? Math.abs(left - right) : 0;
  }

  limit(statistic: StatisticName): number {
    return this.tolerance.rtol * this.#scale(statistic) + this.tolerance.atol * this.#unit(statistic);
  }

  share(statistic: StatisticName, gap: number): number {
    const scale = this.#scale(statistic);
    return gap > 0 ? (scale > 0 ? gap / scale : Infinity) : 0;
  }

  #scale(statistic: StatisticName): number {
    switch (statistic) {
      case "l1":
      case "l2": return Math.max(size(this.a[statistic][this.#rowA]!), size(this.b[statistic][this.#rowB]!));
      case "min":
      case "max": return this.#largest;
      case "mean": return Math.max(meanSize(this.a, this.#rowA), meanSize(this.b, this.#rowB));
      case "zeros":
      case "subnormals": return this.#count;
      default: return 0;
    }
  }

  #unit(statistic: StatisticName): number {
    switch (statistic) {
      case "l2": return Math.sqrt(this.#count);
      case "l1": return this.#count;
      case "min":
      case "max":
      case "mean": return 1;
      default: return 0;
    }
  }
}

const COUNTS: ReadonlySet<StatisticName> = new Set(["count", "zeros", "nan", "inf", "subnormals"]);

/** The absolute value; 0 for what is not finite. */
function size(value: number): number {
  return Number.isFinite(value) ? Math.abs(value) : 0;
}

function meanSize(columns: StatisticColumns, row: number): number {
  const finite = Math.max(columns.count[row]! - columns.nan[row]! - columns.inf[row]!, 1);
  return Math.max(size(columns.l1[row]! / finite), size(columns.mean[row]!));
}

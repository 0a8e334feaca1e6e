/** What a closed module shows of its parameters: the worst state, the norms and counts together. */

import { worse, type GradientState } from "./gradient_state";
import { together, type GradientStatistics, type LocalNorm } from "./gradient_statistics";

/** What a row of the tree shows, of one gradient or of a module's together. */
export interface GradientSummary {
  readonly state: GradientState;
  /** What the filter "trouble" keeps. None and zero are trouble only where others of the model have a gradient. */
  readonly trouble: boolean;
  /** null where there is nothing, or it was not read. */
  readonly statistics: GradientStatistics | null;
  /** The statistics are of an earlier backward: the running one has yet to write, or the last ones did not. */
  readonly before: boolean;
  readonly pending: boolean;
  readonly changed: boolean;
  /** Optimizer steps, or stops, since `.grad` was written. */
  readonly stale: number;
  /** NaN where there is none. */
  readonly previousNorm: number;
  /** Every gradient in it is written and has an earlier norm, so that a ratio says something. */
  readonly comparable: boolean;
  /** What the loss was multiplied with: the norm as accumulated is so many times the norm. 1 where no scale is known. */
  readonly scale: number;
  /** Before it was reduced over the ranks; null where that was not recorded. */
  readonly local: LocalNorm | null;
}

/** Of parts, rows or modules. What was not read takes no part in the numbers, and makes the state "unread" or worse. */
export function summaryOf(parts: readonly GradientSummary[]): GradientSummary {
  const shown: GradientStatistics[] = [];
  let state = parts[0]?.state ?? "frozen";
  let [trouble, changed, before, pending, comparable] = [false, false, true, true, true];
  let [stale, squares] = [0, 0];
  for (const part of parts) {
    state = worse(state, part.state);
    trouble ||= part.trouble;
    changed ||= part.changed;
    comparable &&= part.comparable;
    stale = Math.max(stale, part.stale);
    if (part.state !== "frozen") pending &&= part.pending;
    if (part.statistics === null) continue;
    before &&= part.before;
    squares += part.previousNorm * part.previousNorm;
    shown.push(part.statistics);
  }
  const statistics = together(shown);
  return {
    state,
    trouble,
    statistics,
    before: statistics !== null && before,
    pending: pending && state !== "frozen",
    changed,
    stale,
    previousNorm: statistics === null ? Number.NaN : Math.sqrt(squares),
    comparable,
    scale: parts[0]?.scale ?? 1,
    local: localTogether(parts),
  };
}

function localTogether(parts: readonly GradientSummary[]): LocalNorm | null {
  let [squares, nonfinite, seen] = [0, 0, false];
  for (const { local } of parts) {
    if (local === null) continue;
    squares += Number.isNaN(local.norm) ? 0 : local.norm * local.norm;
    nonfinite += local.nonfinite;
    seen = true;
  }
  return seen ? { norm: Math.sqrt(squares), nonfinite } : null;
}

/** Norm over the previous stop's, where it changed; NaN where that says nothing. */
export function ratioOf({ statistics, previousNorm, changed, comparable }: GradientSummary): number {
  if (!changed || !comparable || statistics === null) return Number.NaN;
  return statistics.norm > 0 && previousNorm > 0 ? statistics.norm / previousNorm : Number.NaN;
}

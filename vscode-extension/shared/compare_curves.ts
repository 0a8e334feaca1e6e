/** Two sessions as curves over the steps that were compared: loss, gradient norm, difference, held bytes. */

import { spelled, type ComparedCurves, type LossParting, type StepPair } from "./compare";
import { normOf } from "./compare_norm";
import type { ComparedCalls } from "./compare_records";
import { relativeOf, type ComparedRows, type Rows } from "./compare_rows";
import { numbersPart, relativeDifference, type Tolerance } from "./compare_tolerance";
import type { RecordedSession } from "./recorded_session";

/** Steps of the curves at most. */
export const CURVE_POINTS = 1000;

/** The norms of both at one pair of steps, and the largest relative gap; all null where no parameter was compared. */
export interface Norms {
  readonly a: number | null;
  readonly b: number | null;
  readonly difference: number | null;
}

const NO_NORMS: Norms = { a: null, b: null, difference: null };

/** Over the compared parameters after the last call. */
export function normsOf(found: readonly ComparedRows[]): Norms {
  if (found.length === 0) return NO_NORMS;
  const [lastA, lastB] = [new Map<number, number>(), new Map<number, number>()];
  for (const { a, b, match } of found) {
    addNorms(lastA, a, match.a);
    addNorms(lastB, b, match.b);
  }
  return { a: normOf(lastA.values()), b: normOf(lastB.values()), difference: Math.max(...found.map(relativeOf)) };
}

/** L2 norms by subject; NaN or infinite where an element is. */
function addNorms(norms: Map<number, number>, { subjects, statistics }: Rows, rows: Uint32Array): void {
  const { nan, inf, l2 } = statistics;
  for (const row of rows) norms.set(subjects[row]!, nan[row]! > 0 ? Number.NaN : inf[row]! > 0 ? Infinity : l2[row]!);
}

/** All points of both sessions, before they are thinned. */
export class Curves {
  readonly #norms: Norms[] = [];

  constructor(
    private readonly sessions: readonly [RecordedSession, RecordedSession],
    private readonly calls: readonly [ComparedCalls, ComparedCalls],
    private readonly pairs: readonly StepPair[],
  ) {}

  add(norms: Norms): void {
    this.#norms.push(norms);
  }

  get haveLosses(): boolean {
    return this.pairs.some(({ a, b }) => this.#loss(0, a) !== null && this.#loss(1, b) !== null);
  }

  /** The first pair of steps whose losses part. */
  lossParting(tolerance: Tolerance): LossParting | null {
    for (const pair of this.pairs) {
      const [a, b] = [this.#loss(0, pair.a), this.#loss(1, pair.b)];
      if (a === null || b === null || !numbersPart(a, b, tolerance)) continue;
      return { step: pair.a, step_b: pair.b, a: spelled(a), b: spelled(b), relative: spelled(relativeDifference(a, b)) };
    }
    return null;
  }

  /** Of each stretch the step that differs most, the last of equals. */
  drawn(): ComparedCurves {
    const kept = keptPoints(this.#norms.map(({ difference }) => difference ?? 0));
    const pairs = kept.map((at) => this.pairs[at]!);
    const norms = kept.map((at) => this.#norms[at]!);
    const written = (value: number | null) => (value === null ? null : spelled(value));
    return {
      steps: pairs.map(({ a }) => a),
      steps_b: pairs.map(({ b }) => b),
      loss_a: pairs.map(({ a }) => written(this.#loss(0, a))),
      loss_b: pairs.map(({ b }) => written(this.#loss(1, b))),
      norm_a: norms.map(({ a }) => written(a)),
      norm_b: norms.map(({ b }) => written(b)),
      difference: norms.map(({ difference }) => written(difference)),
      held_a: pairs.map(({ a }) => mostHeld(this.calls[0], a)),
      held_b: pairs.map(({ b }) => mostHeld(this.calls[1], b)),
    };
  }

  #loss(side: 0 | 1, step: number): number | null {
    const { steps } = this.sessions[side];
    const position = steps.position(step);
    return position < 0 ? null : steps.loss(position);
  }
}

function keptPoints(difference: readonly number[]): number[] {
  const points = Math.min(difference.length, CURVE_POINTS);
  const edges = Array.from({ length: points + 1 }, (_, i) => roundedToEven((i * difference.length) / points));
  return edges.slice(1).map((end, i) => {
    let best = edges[i]!;
    for (let at = best; at < end; at++) if (difference[at]! >= difference[best]!) best = at;
    return best;
  });
}

/** As Python rounds: a half goes to the even neighbour. */
function roundedToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function mostHeld(calls: ComparedCalls, step: number): number | null {
  const most = calls.ofStep(step).reduce((found, { heldBytes }) => Math.max(found, heldBytes), -1);
  return most >= 0 ? most : null;
}

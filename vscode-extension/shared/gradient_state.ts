/** How a `.grad` stands, in one word, and when its size alone is trouble. */

import { STATE_RANK } from "./glyphs";

export type GradientState = (typeof STATE_RANK)[number];

/**
 * Limits on size. A gradient's scale is the loss's own (a sum over tokens, a loss scale), so the main measure is
 * relative: the root mean square of one parameter against the median of its model at the same stop. Between the
 * parameters of one healthy model that ratio spans two to three decades (layer norms high, embeddings low).
 */
export const LIMITS = {
  /** Below this share of the median: a decade under the widest healthy spread. */
  vanishingShare: 1e-4,
  /** ... unless the norm is above this: in a model that explodes, the others are small only beside it. */
  vanishingNorm: 1e-3,
  /** Below this in any model: the eps of Adam, under which its step shrinks with the gradient. */
  vanishingRms: 1e-8,
  /** Above this multiple of the median. */
  explodingMultiple: 1e3,
  /** ... unless the norm is below this, the usual clipping norm: where gradients vanish, the others only look large. */
  explodingLeast: 1,
  /** Above this norm in any model: three decades over the usual clipping norm. A loss scale also does it. */
  explodingNorm: 1e3,
  /** Fewer gradients than this have no median worth comparing with. */
  comparable: 4,
} as const;

/** What the size of a gradient is compared with; NaN where there are too few to compare. */
export function medianRms(values: readonly number[]): number {
  const sizes = Float64Array.from(values.filter((value) => value > 0 && Number.isFinite(value))).sort();
  if (sizes.length < LIMITS.comparable) return Number.NaN;
  const middle = sizes.length >> 1;
  return sizes.length % 2 === 1 ? sizes[middle]! : (sizes[middle - 1]! + sizes[middle]!) / 2;
}

/** The state that the size of a finite, non-zero gradient gives. Comparisons with a NaN median are false. */
export function stateOfSize(norm: number, rms: number, median: number): "exploding" | "vanishing" | "finite" {
  if (norm > LIMITS.explodingNorm || (rms > median * LIMITS.explodingMultiple && norm > LIMITS.explodingLeast)) return "exploding";
  if (rms < LIMITS.vanishingRms || (rms < median * LIMITS.vanishingShare && norm < LIMITS.vanishingNorm)) return "vanishing";
  return "finite";
}

const RANK = Object.fromEntries(STATE_RANK.map((state, rank) => [state, rank])) as Record<GradientState, number>;

/** 0 is the worst. */
export function stateRank(state: GradientState): number {
  return RANK[state];
}

/** The one of two that a closed module shows. */
export function worse(a: GradientState, b: GradientState): GradientState {
  return stateRank(a) <= stateRank(b) ? a : b;
}

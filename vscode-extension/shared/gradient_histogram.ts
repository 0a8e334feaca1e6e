/** The histogram of `.grad` magnitudes as bars over powers of two, on the window of the range glyph. */

import { binLowerEdge, histogramCounts } from "./gradient_statistics";
import { HISTOGRAM_BINS, HISTOGRAM_LOWEST_EXPONENT } from "./session";

/** 2^-40 to 2^4 is 1e−12 to 1e1: the decades that gradients have everywhere in the panel. */
const USUAL = { first: -40 - HISTOGRAM_LOWEST_EXPONENT, last: 3 - HISTOGRAM_LOWEST_EXPONENT };

export interface HistogramBars {
  /** The power of two at which bar `i` begins is `firstExponent + i`. */
  readonly firstExponent: number;
  /** Shares of the fullest bin, 0 to 1. */
  readonly now: readonly number[];
  /** Of the previous stop, each on its own fullest bin's scale; null without one. */
  readonly before: readonly number[] | null;
  /** Power of two where the fullest bin begins; null where there is no value. */
  readonly peakExponent: number | null;
}

/** null when a histogram is missing. `before` takes part only as a whole. */
export function histogramBars(now: readonly (Uint8Array | null)[], before: readonly (Uint8Array | null)[]): HistogramBars | null {
  const counts = histogramCounts(now);
  if (counts === null) return null;
  const earlier = histogramCounts(before);
  const [first, last] = windowOf([counts, ...(earlier === null ? [] : [earlier])]);
  const peak = counts.indexOf(Math.max(...counts));
  return {
    firstExponent: first + HISTOGRAM_LOWEST_EXPONENT,
    now: shares(counts, first, last),
    before: earlier === null ? null : shares(earlier, first, last),
    peakExponent: counts[peak]! > 0 ? Math.log2(binLowerEdge(peak)) : null,
  };
}

/** The usual window, opened to what lies outside. */
function windowOf(all: readonly Float64Array[]): readonly [number, number] {
  const filled = all.flatMap((counts) => Array.from(counts.keys()).filter((bin) => counts[bin]! > 0));
  return [Math.min(USUAL.first, ...filled), Math.min(HISTOGRAM_BINS - 1, Math.max(USUAL.last, ...filled))];
}

function shares(counts: Float64Array, first: number, last: number): number[] {
  const most = Math.max(...counts, 1);
  return Array.from(counts.subarray(first, last + 1), (count) => count / most);
}

/** What of a timeline is new since it was last sent. */

import type { Timeline } from "./replay";

const COLUMNS = ["steps", "loss", "lossSeen", "gradientNorm", "nonfinite", "heldBytes"] as const;

/** First position at which `now` differs from `before`, or the shorter one ends; null where they are the same. */
export function firstChange(before: Timeline, now: Timeline): number | null {
  const both = Math.min(before.steps.length, now.steps.length);
  let first = both;
  for (const name of COLUMNS) first = firstDifference(before[name], now[name], first);
  const none = new Float64Array(both).fill(Number.NaN);
  first = firstDifference(before.lossScale ?? none, now.lossScale ?? none, first);
  return first === both && before.steps.length === now.steps.length ? null : first;
}

function firstDifference(a: Float64Array | Uint8Array, b: Float64Array | Uint8Array, end: number): number {
  // Not the same, nor both NaN.
  for (let i = 0; i < end; i++) if (a[i] !== b[i] && (a[i] === a[i] || b[i] === b[i])) return i;
  return end;
}

/** The positions from `from` on, in buffers of their own. */
export function tailOf(timeline: Timeline, from: number): Timeline {
  return {
    steps: timeline.steps.slice(from),
    loss: timeline.loss.slice(from),
    lossSeen: timeline.lossSeen.slice(from),
    gradientNorm: timeline.gradientNorm.slice(from),
    nonfinite: timeline.nonfinite.slice(from),
    heldBytes: timeline.heldBytes.slice(from),
    ...(timeline.lossScale ? { lossScale: timeline.lossScale.slice(from) } : {}),
  };
}

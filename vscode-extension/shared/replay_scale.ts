/** Gradients without the loss scale that they were accumulated with: what steps of other scales compare by. */

import type { RecordedSession } from "./recorded_session";
import type { Curve } from "./replay";

/** Values over scales, an entry each; where a scale is not known the value stays. Powers of two: nothing is lost. */
export function unscaled(values: Float64Array, scales: Float64Array | null): Float64Array {
  if (scales === null) return values;
  return values.map((value, at) => (scales[at]! > 0 ? value / scales[at]! : value));
}

/** A curve over all steps of the session. */
export function unscaledCurve({ steps }: RecordedSession, curve: Curve): Curve {
  if (steps.lossScales() === null) return curve;
  const scales = Float64Array.from(curve.steps, (step) => steps.lossScale(steps.position(step)) ?? Number.NaN);
  return { ...curve, values: unscaled(curve.values, scales) };
}

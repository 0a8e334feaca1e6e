/** The numbers of a row: mantissas aligned, exponents dim. */

import type { JSX } from "preact";
import { formatRatio } from "../../shared/format";
import type { Beside } from "../../shared/gradient_model";
import { ratioOf, type GradientSummary } from "../../shared/gradient_summary";
import { gradientsText as text } from "../../shared/text";
import { MagnitudeText } from "../components/number";

/** Statistics write NaN where a value is not known: a dash, never a number. */
export function known(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}

/** The row has the tooltip. */
export function NormNumber({ summary }: { readonly summary: GradientSummary }): JSX.Element | null {
  if (summary.state === "frozen" && summary.statistics === null) return null;
  return <MagnitudeText value={known(summary.statistics?.norm)} title="" />;
}

/** As accumulated with the loss scale, or before it was reduced over the ranks. */
export function BesideNumber({ summary, beside }: { readonly summary: GradientSummary; readonly beside: Beside }): JSX.Element | null {
  const { statistics, scale, local } = summary;
  if (beside === "scaled") return statistics === null ? null : <MagnitudeText value={known(statistics.norm * scale)} title="" />;
  if (local === null) return null;
  return local.nonfinite > 0 && Number.isNaN(local.norm) ? <span class="c-nan">NaN</span> : <MagnitudeText value={known(local.norm)} title="" />;
}

/** Empty where nothing is known of before; "=" where `.grad` was not written since. */
export function RatioNumber({ summary }: { readonly summary: GradientSummary }): JSX.Element | null {
  const ratio = ratioOf(summary);
  if (!Number.isNaN(ratio)) return <>{formatRatio(ratio)}</>;
  const { statistics, changed, before, previousNorm, comparable } = summary;
  if (statistics === null || before) return null;
  if (!changed && comparable && previousNorm >= 0) return <span class="dim">{text.same}</span>;
  return changed && Number.isNaN(previousNorm) ? <span class="dim">{text.fresh}</span> : null;
}

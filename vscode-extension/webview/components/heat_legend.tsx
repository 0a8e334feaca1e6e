/** The colours of a heat map and the numbers at their ends, over one shared exponent. */

import type { JSX } from "preact";
import { valuesText } from "../../shared/text";
import { legendEnds, type Window } from "../../shared/values";

interface HeatLegendProps {
  readonly limit: number;
  readonly window: Window | null;
  readonly unit: string | undefined;
}

export function HeatLegend({ limit, window, unit }: HeatLegendProps): JSX.Element {
  if (!window) return <div class="hm-legend" />;
  if (limit === 0) return <div class="hm-legend">{window.nonFinite > 0 ? valuesText.noneFinite : valuesText.allZero}</div>;
  const { low, high, exponent } = legendEnds(limit);
  return (
    <div class="hm-legend">
      <span>{low}</span>
      <i class="hm-ramp hm-ramp-low" />
      <span>0</span>
      <i class="hm-ramp hm-ramp-high" />
      <span>{[high, exponent, unit ?? ""].filter(Boolean).join(" ")}</span>
    </div>
  );
}

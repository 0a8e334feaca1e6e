/** Smallest to largest magnitude on the panel's fixed decades, with a tick at the root mean square. */

import type { JSX } from "preact";
import type { GradientSummary } from "../../shared/gradient_summary";

const WIDTH = 54;
const LOWEST = -12;
const HIGHEST = 1;

/** Decoration: the row's name says the numbers. */
export function RangeGlyph({ summary }: { readonly summary: GradientSummary }): JSX.Element {
  return (
    <svg class="range" width={WIDTH} height={14} aria-hidden="true">
      {summary.state === "None" && summary.statistics === null ? <path class="range-none" d={`M0 7H${WIDTH}`} /> : <Bar summary={summary} />}
    </svg>
  );
}

function Bar({ summary }: { readonly summary: GradientSummary }): JSX.Element {
  const { statistics, before, state } = summary;
  const kind = state === "vanishing" || state === "exploding" ? `c-${state}` : "";
  return (
    <>
      <path class="range-axis" d={`M0 11.5H${WIDTH}`} />
      {statistics !== null && statistics.absMax > 0 && (
        <>
          <Extent from={statistics.smallest} to={statistics.absMax} before={before} />
          <path class={`range-rms ${kind}`} d={`M${placeOf(statistics.rms)} 2V12`} />
        </>
      )}
    </>
  );
}

/** Without a histogram the smallest is not known, and there is no bar. */
function Extent({ from, to, before }: { readonly from: number; readonly to: number; readonly before: boolean }): JSX.Element | null {
  if (Number.isNaN(from)) return null;
  const left = Math.min(placeOf(from), WIDTH - 2);
  return <rect class={`range-bar${before ? " before" : ""}`} x={left} y={5} width={Math.max(2, placeOf(to) - left)} height={4} />;
}

function placeOf(magnitude: number): number {
  const place = ((Math.log10(magnitude) - LOWEST) / (HIGHEST - LOWEST)) * WIDTH;
  return Math.round(Math.min(WIDTH - 0.5, Math.max(0.5, place)) * 10) / 10;
}

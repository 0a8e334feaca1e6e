/** How the magnitudes of `.grad` are spread over powers of two; the line is the previous stop. */

import type { JSX } from "preact";
import type { HistogramBars } from "../../shared/gradient_histogram";
import { gradientsText as text } from "../../shared/text";

const AXIS = 14;

export interface MagnitudeHistogramProps {
  readonly bars: HistogramBars;
  readonly width: number;
  readonly height: number;
}

export function MagnitudeHistogram({ bars, width, height }: MagnitudeHistogramProps): JSX.Element {
  const bar = width / bars.now.length;
  const floor = height - AXIS;
  const top = (share: number): number => floor - share * (floor - 4);
  return (
    <svg class="magnitudes" width={width} height={height} role="img" aria-label={text.histogramSentence(bars.peakExponent)}>
      {bars.now.map((share, at) =>
        share > 0 ? <rect key={at} class="magnitudes-bar" x={at * bar} y={top(visible(share))} width={Math.max(1, bar - 1)} height={floor - top(visible(share))} /> : null,
      )}
      {bars.before !== null && <path class="magnitudes-before" d={outline(bars.before, bar, top)} />}
      <path class="magnitudes-floor" d={`M0 ${floor + 0.5}H${width}`} />
      {bars.now.map((_, at) => (
        <Tick key={at} exponent={bars.firstExponent + at} x={at * bar} first={at === 0} height={height} />
      ))}
    </svg>
  );
}

/** One value among millions is still there to see. */
function visible(share: number): number {
  return Math.max(share, 0.015);
}

function outline(shares: readonly number[], bar: number, top: (share: number) => number): string {
  return shares.map((share, at) => `${at === 0 ? "M" : "L"}${(at * bar).toFixed(1)} ${top(share).toFixed(1)}h${bar.toFixed(1)}`).join("");
}

interface TickProps {
  readonly exponent: number;
  readonly x: number;
  readonly first: boolean;
  readonly height: number;
}

function Tick({ exponent, x, first, height }: TickProps): JSX.Element | null {
  if (exponent % 10 !== 0) return null;
  return (
    <text x={x} y={height - 2} text-anchor={first ? "start" : "middle"} aria-hidden="true">
      2
      <tspan dy={-3} class="magnitudes-exponent">
        {String(exponent).replace("-", "−")}
      </tspan>
    </text>
  );
}

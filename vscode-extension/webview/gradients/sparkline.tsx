/** Norms of the last steps in a row: their shape alone, on a log scale of at least most of a decade. */

import type { JSX } from "preact";
import type { GradientHistory } from "../../shared/gradient_history";
import type { GradientSummary } from "../../shared/gradient_summary";
import type { GradientNode } from "../../shared/gradient_tree";
import { GlyphAt } from "../components/glyph";

export interface SparklineProps {
  readonly history: GradientHistory;
  readonly node: GradientNode;
  readonly summary: GradientSummary;
}

/** So many of the last steps are drawn. */
export const SPARK_STEPS = 40;

const [WIDTH, HEIGHT] = [44, 14];
/** Decades: less than this apart looks level. */
const LEAST_SPAN = 0.8;

export function Sparkline({ history, node, summary }: SparklineProps): JSX.Element {
  const norms = history.norms(node);
  const logs = Array.from(norms.subarray(Math.max(0, norms.length - SPARK_STEPS)), (norm) => (norm > 0 ? Math.log10(norm) : Number.NaN));
  const known = logs.filter((log) => Number.isFinite(log));
  const low = Math.min(...known);
  const high = Math.max(...known, low + LEAST_SPAN);
  const x = (at: number): number => (at / Math.max(1, logs.length - 1)) * (WIDTH - 4);
  const y = (log: number): number => HEIGHT - 2 - ((log - low) / (high - low)) * (HEIGHT - 4);
  const last = logs[logs.length - 1];
  const bad = summary.state === "NaN" || summary.state === "Inf";
  return (
    <svg class="spark" width={WIDTH} height={HEIGHT} aria-hidden="true">
      {known.length > 0 && <path class="spark-line" d={lineOf(logs, x, y)} />}
      {bad ? (
        <GlyphAt id={summary.state === "NaN" ? "NaN" : "Inf"} x={WIDTH - 4} y={last !== undefined && Number.isFinite(last) ? y(last) : HEIGHT / 2} size={7} />
      ) : (
        last !== undefined && Number.isFinite(last) && <circle class="spark-dot" cx={WIDTH - 4} cy={y(last)} r={1.5} />
      )}
    </svg>
  );
}

/** Broken where a step has none. */
function lineOf(logs: readonly number[], x: (at: number) => number, y: (log: number) => number): string {
  let path = "";
  logs.forEach((log, at) => {
    if (!Number.isFinite(log)) return;
    const before = logs[at - 1];
    path += `${before === undefined || !Number.isFinite(before) ? "M" : "L"}${x(at).toFixed(1)} ${y(log).toFixed(1)}`;
  });
  return path;
}

/** Norms of every gradient over the last steps: a sparkline for each row, and the band behind the flow chart. */

import type { FlowPoint } from "./gradient_flow";
import { parametersBelow, type GradientNode } from "./gradient_tree";
import type { RecentNorms } from "./replay";

/** Norms over the last steps, oldest first; NaN: not recorded. */
export class GradientHistory {
  readonly steps: Float64Array;
  readonly #rowOf: ReadonlyMap<number, number>;
  readonly #norms: Float32Array;
  readonly #ofNode = new Map<string, Float64Array>();

  constructor(recent: RecentNorms) {
    this.steps = recent.steps;
    this.#norms = recent.norms;
    this.#rowOf = new Map(Array.from(recent.parameters, (id, row) => [id, row]));
  }

  /** Of a parameter, or of all gradients below a module together; empty where nothing is known. */
  norms(node: GradientNode): Float64Array {
    const known = this.#ofNode.get(node.key);
    if (known) return known;
    const norms = this.#together(parametersBelow(node).map(({ row }) => row.parameter.id));
    this.#ofNode.set(node.key, norms);
    return norms;
  }

  /** A step counts with the parameters that it has: those that are None then add nothing. */
  #together(ids: readonly number[]): Float64Array {
    const rows = ids.flatMap((id) => this.#rowOf.get(id) ?? []);
    const width = this.steps.length;
    if (rows.length === 0) return new Float64Array(0);
    return Float64Array.from({ length: width }, (_, at) => {
      let [squares, seen] = [0, false];
      for (const row of rows) {
        const norm = this.#norms[row * width + at]!;
        if (Number.isNaN(norm)) continue;
        squares += norm * norm;
        seen = true;
      }
      return seen ? Math.sqrt(squares) : Number.NaN;
    });
  }

  /** The 10th and 90th percentile of a point's norms; null where fewer than five steps have one. */
  band({ nodes }: FlowPoint): readonly [number, number] | null {
    const width = this.steps.length;
    const all = nodes.map((node) => this.norms(node)).filter((norms) => norms.length === width);
    const seen = Array.from({ length: width }, (_, at) => Math.sqrt(all.reduce((sum, norms) => sum + norms[at]! ** 2, 0)));
    const sorted = seen.filter((norm) => Number.isFinite(norm) && norm > 0).sort((a, b) => a - b);
    return sorted.length < FEWEST ? null : [percentile(sorted, 0.1), percentile(sorted, 0.9)];
  }
}

const FEWEST = 5;

function percentile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  return sorted[below]! + (sorted[Math.min(below + 1, sorted.length - 1)]! - sorted[below]!) * (at - below);
}

/** The edges between drawn rows, and how gradient runs along them at one stop or step. */

import { numbers } from "./answer";
import { flowOf, type Flow } from "./graph_lanes";
import { opName, type GraphModel } from "./graph_model";
import type { GraphRows } from "./graph_rows";

/** Edges of the graph that join the same two rows. Gradient flows from the lower row to the upper one. */
export interface LayeredEdge {
  readonly upper: number;
  readonly lower: number;
  count: number;
  flow: Flow;
  /** One of the edges it stands for, as an index into the graph's. */
  readonly example: number;
}

export interface LayeredEdges {
  readonly edges: readonly LayeredEdge[];
  /** Edges that are left out: more cannot be told apart. */
  readonly leftOut: number;
}

/** Joined edges that are drawn at most; the longest are left out first. */
export const MOST_EDGES = 1500;

/** All edges between rows, in the order of their upper and lower ends; equal for equal rows. */
export function layeredEdges(rows: GraphRows): LayeredEdges {
  const found = [...joined(rows).values()];
  const bySpan = found.length > MOST_EDGES ? [...found].sort((a, b) => a.lower - a.upper - (b.lower - b.upper)).slice(0, MOST_EDGES) : found;
  bySpan.sort((a, b) => a.upper - b.upper || a.lower - b.lower);
  return { edges: bySpan, leftOut: found.length - bySpan.length };
}

function joined({ tree, rowOf, rows }: GraphRows): Map<number, LayeredEdge> {
  const found = new Map<number, LayeredEdge>();
  const { model, order } = tree;
  const { next, target: ends } = model.edges;
  for (let position = 0; position < order.node.length; position++) {
    const node = order.node[position]!;
    const a = rowOf[position]!;
    for (let i = next.start[node]!; i < next.start[node + 1]!; i++) {
      const edge = next.order[i]!;
      const end = ends[edge]!;
      const at = order.position[end]!;
      const b = rowOf[at];
      if (b === undefined || a === b || order.node[at] !== end) continue;
      const [upper, lower] = a < b ? [a, b] : [b, a];
      const flow = flowOf(model, node, end);
      const key = upper * rows.length + lower;
      const known = found.get(key);
      if (known) {
        known.count++;
        known.flow = Math.max(known.flow, flow);
      } else found.set(key, { upper, lower, count: 1, flow, example: edge });
    }
  }
  return found;
}

/** Operations that hand the gradient on as it came to their first input. */
const HANDS_ON: readonly string[] = ["AddBackward0", "SubBackward0"];

/**
 * Which share of the gradient that reached a node came along an edge: its norm over the norm of the sum. Null where
 * nothing measured it. Autograd adds up what ends in one node before anything can see it; what is known is what an
 * operation handed on unchanged, or computed as it was seen. Above 1 where another edge cancels part of it.
 */
export function gradientShare(model: GraphModel, { count, example }: LayeredEdge): number | null {
  const { source, target, slot, previous } = model.edges;
  const [from, to] = [source[example]!, target[example]!];
  if (count !== 1 || previous.start[to + 1]! - previous.start[to]! < 2) return null;
  const whole = model.gradients.now.get(to);
  const along = handsOn(model, from, to, slot[example]!) ? model.gradients.now.get(from) : computedFor(model, from);
  if (!whole || !along || !(whole.norm > 0)) return null;
  const share = along.norm / whole.norm;
  return whole.nan + whole.inf + along.nan + along.inf === 0 && Number.isFinite(share) ? share : null;
}

function handsOn(model: GraphModel, from: number, to: number, slot: number): boolean {
  if (slot !== 0 || !HANDS_ON.includes(opName(model, from))) return false;
  const [a, b] = [shapeOf(model, from), shapeOf(model, to)];
  return a !== undefined && b !== undefined && a.length === b.length && a.every((size, i) => size === b[i]);
}

/** What a node computed is what went along its edge where it has only one. */
function computedFor(model: GraphModel, from: number): ReturnType<GraphModel["gradients"]["computed"]["get"]> {
  const { next } = model.edges;
  return next.start[from + 1]! - next.start[from]! === 1 ? model.gradients.computed.get(from) : undefined;
}

const shapesOfModel = new WeakMap<GraphModel, ReadonlyMap<number, readonly number[]>>();

function shapeOf(model: GraphModel, node: number): readonly number[] | undefined {
  const known = shapesOfModel.get(model) ?? outputShapes(model);
  shapesOfModel.set(model, known);
  return known.get(node);
}

/** Of nodes with one output: of several, the first need not be the one that an edge ends in. */
function outputShapes({ snapshot: { ledger } }: GraphModel): ReadonlyMap<number, readonly number[]> {
  const shapes = new Map<number, readonly number[]>();
  if (!ledger) return shapes;
  const index = numbers(ledger.output_shape);
  const several = new Set<number>();
  numbers(ledger.output_node).forEach((node, row) => {
    const shape = ledger.shapes[index[row] ?? -1];
    if (shapes.has(node)) several.add(node);
    else if (shape) shapes.set(node, shape);
  });
  several.forEach((node) => shapes.delete(node));
  return shapes;
}

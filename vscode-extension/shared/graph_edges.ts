/** Edges of an autograd graph, indexed from both ends. Gradient flows from a node along its next_functions. */

import { numbers, type Numbers } from "./answer";
import type { Graph } from "./session";

/** The edges of node n are `order[start[n]]` to `order[start[n + 1] - 1]`, indices into the columns of GraphEdges. */
export interface EdgeIndex {
  readonly start: Int32Array;
  readonly order: Int32Array;
}

export interface GraphEdges {
  readonly count: number;
  /** The node whose next_functions entry it is, in which place, to which node, and to which of its outputs. */
  readonly source: Numbers;
  readonly slot: Numbers;
  readonly target: Numbers;
  readonly inputNr: Numbers;
  readonly next: EdgeIndex;
  readonly previous: EdgeIndex;
}

/** Reads a graph's edge columns. */
export function readEdges(graph: Graph): GraphEdges {
  const source = numbers(graph.edge_source);
  const target = numbers(graph.edge_target);
  return {
    count: source.length,
    source,
    slot: numbers(graph.edge_slot),
    target,
    inputNr: numbers(graph.edge_input_nr),
    next: indexBy(source, graph.node_count),
    previous: indexBy(target, graph.node_count),
  };
}

function indexBy(end: Numbers, count: number): EdgeIndex {
  const start = new Int32Array(count + 1);
  for (let edge = 0; edge < end.length; edge++) start[end[edge]! + 1]!++;
  for (let node = 0; node < count; node++) start[node + 1]! += start[node]!;
  const place = start.slice();
  const order = new Int32Array(end.length);
  for (let edge = 0; edge < end.length; edge++) order[place[end[edge]!]!++] = edge;
  return { start, order };
}

/** The edges of one node in an index. */
export function edgesOf(index: EdgeIndex, node: number): Int32Array {
  return index.order.subarray(index.start[node] ?? 0, index.start[node + 1] ?? 0);
}

/** What a row shows of the nodes it stands for. Sums over ranges of positions are looked up, not walked. */

import { compiledOp, isInner } from "./graph_compiled";
import type { GraphTree } from "./graph_groups";
import { FIRED, IDLE, RUNNING, UNKNOWN, type GraphModel, type NodeState } from "./graph_model";
import { leafCount, leavesAt } from "./graph_order";
import { TROUBLES, type NodeTrouble } from "./graph_gradients";

/** A gradient's norm and where it comes from: `now`: this backward; `parameter`, `before`: from `.grad`. */
export interface ShownNorm {
  readonly norm: number;
  readonly from: "now" | "parameter" | "before";
  readonly nonFinite: "NaN" | "Inf" | null;
}

export interface RowSummary {
  readonly nodes: number;
  readonly held: number;
  readonly released: number;
  /** What results of compiled ops keep; it is counted as held at their compiled node. */
  readonly kept: number;
  readonly fired: number;
  readonly state: NodeState | "partly";
  readonly trouble: NodeTrouble;
  /** The last gradient norm that is known: of the node that backward reached last. Null for none. */
  readonly norm: ShownNorm | null;
  /** Labels of nodes whose inside cannot be seen. */
  readonly unseen: number;
}

/** Running sums over positions: the sum over `start` to `end - 1` is `sums[end] - sums[start]`. */
interface Sums {
  readonly nodes: Float64Array;
  readonly held: Float64Array;
  readonly released: Float64Array;
  readonly kept: Float64Array;
  readonly fired: Float64Array;
  readonly running: Float64Array;
  readonly idle: Float64Array;
  readonly unseen: Float64Array;
  readonly troubles: readonly Float64Array[];
  readonly trouble: Uint8Array;
  /** How many parameters with a known `.grad` operations use. */
  readonly parameters: Float64Array;
  /** The first position from each one on with a gradient of this backward; the number of positions for none. */
  readonly nextNow: Int32Array;
}

/** Labels that say something about a node and hide nothing of it. */
const SEEN_THROUGH: readonly string[] = ["custom", "user hooks"];

const sumsOfTree = new WeakMap<GraphTree, Sums>();

/** The summary of the positions `start` to `end - 1`. */
export function summarise(tree: GraphTree, start: number, end: number): RowSummary {
  const sums = sumsOf(tree);
  const within = (values: Float64Array): number => values[end]! - values[start]!;
  const nodes = within(sums.nodes);
  const fired = within(sums.fired);
  const trouble = [3, 2, 1].find((i) => within(sums.troubles[i]!) > 0) ?? 0;
  return {
    nodes,
    held: within(sums.held),
    released: within(sums.released),
    kept: within(sums.kept),
    fired,
    state: stateOf(end - start, { fired, running: within(sums.running), idle: within(sums.idle) }, tree, start),
    trouble: TROUBLES[trouble]!,
    norm: lastNorm(tree, sums, start, end),
    unseen: within(sums.unseen),
  };
}

/** The number of the worst trouble at each position, into TROUBLES. */
export function troubleByPosition(tree: GraphTree): Uint8Array {
  return sumsOf(tree).trouble;
}

function stateOf(
  size: number,
  counts: { fired: number; running: number; idle: number },
  tree: GraphTree,
  start: number,
): RowSummary["state"] {
  if (counts.idle > 0) return "idle";
  if (counts.running > 0) return "running";
  if (counts.fired === size) return "fired";
  if (counts.fired > 0) return "partly";
  return tree.model.state[tree.order.node[start]!] === UNKNOWN ? "unknown" : "pending";
}

/** The gradient that backward reached last in it; where none was seen, the norm over its parameters' `.grad`. */
function lastNorm(tree: GraphTree, sums: Sums, start: number, end: number): ShownNorm | null {
  const now = sums.nextNow[start]!;
  if (now < end) return normAt(tree, now);
  const within = (values: Float64Array): number => values[end]! - values[start]!;
  if (within(sums.parameters) === 0) return null;
  const { model, order } = tree;
  const leaves = new Set<number>();
  for (let at = start; at < end; at++) leavesAt(model, order, at).forEach((leaf) => leaves.add(leaf));
  return parameterNorm(model, leaves);
}

/** The gradient that reached a position's node, else the `.grad` of the parameters that it uses. */
export function normAt({ model, order }: GraphTree, position: number): ShownNorm | null {
  const now = model.gradients.now.get(order.node[position]!);
  if (now) return { norm: now.norm, from: "now", nonFinite: now.nan > 0 ? "NaN" : now.inf > 0 ? "Inf" : null };
  return parameterNorm(model, leavesAt(model, order, position));
}

/** The norm over the `.grad` of leaves, as far as they are known; null where none is. */
export function parameterNorm({ gradients, parameter }: GraphModel, leaves: Iterable<number>): ShownNorm | null {
  const known = Array.from(leaves, (leaf) => gradients.ofParameter.get(parameter[leaf] ?? -1)).filter((one) => one !== undefined);
  if (known.length === 0) return null;
  const nonFinite = known.some(({ nan }) => nan > 0) ? "NaN" : known.some(({ inf }) => inf > 0) ? "Inf" : null;
  const norm = Math.sqrt(known.reduce((sum, { norm }) => sum + norm * norm, 0));
  return { norm, from: known.some(({ pending }) => pending) ? "before" : "parameter", nonFinite };
}

function sumsOf(tree: GraphTree): Sums {
  const known = sumsOfTree.get(tree);
  if (known) return known;
  const sums = addUp(tree);
  sumsOfTree.set(tree, sums);
  return sums;
}

function addUp(tree: GraphTree): Sums {
  const { model, order } = tree;
  const { node } = order;
  const trouble = worstTrouble(tree);
  const running = (value: (node: number, position: number) => number): Float64Array => {
    const sums = new Float64Array(node.length + 1);
    for (let at = 0; at < node.length; at++) sums[at + 1] = sums[at]! + value(node[at]!, at);
    return sums;
  };
  const none: readonly number[] = [];
  const folded = (at: number): readonly number[] => order.folded.get(at) ?? none;
  const total = (values: Float64Array, n: number, at: number): number => {
    let sum = values[n]!;
    for (const one of folded(at)) sum += values[one]!;
    return sum;
  };
  const known = ({ gradients, parameter }: GraphModel, leaf: number): boolean => gradients.ofParameter.has(parameter[leaf] ?? -1);
  return {
    nodes: running((n, at) => (isInner(model.inside, n) ? 0 : 1) + folded(at).length),
    held: running((n, at) => total(model.held, n, at)),
    released: running((n, at) => total(model.released, n, at)),
    kept: running((n) => keptBytes(model, n)),
    fired: running((n) => (model.state[n] === FIRED ? 1 : 0)),
    running: running((n, at) => (model.state[n] === RUNNING || folded(at).some((one) => model.state[one] === RUNNING) ? 1 : 0)),
    parameters: running((_, at) => leafCount(model, order, at) === 0 ? 0 : leavesAt(model, order, at).filter((leaf) => known(model, leaf)).length),
    idle: running((n) => (model.state[n] === IDLE ? 1 : 0)),
    unseen: running((n) => (isUnseen(model, n) ? 1 : 0)),
    trouble,
    troubles: TROUBLES.map((_, i) => running((_node, at) => (trouble[at] === i ? 1 : 0))),
    nextNow: nextWhere(node.length, (at) => model.gradients.now.has(node[at]!)),
  };
}

function keptBytes({ inside }: GraphModel, node: number): number {
  const op = compiledOp(inside, node);
  return op?.saved && op.bytes > 0 ? op.bytes : 0;
}

/** Whether a node's label says that its inside cannot be observed. */
export function isUnseen(model: GraphModel, node: number): boolean {
  const label = model.labels.get(node)?.label;
  return label !== undefined && !SEEN_THROUGH.includes(label) && !model.inside?.regions.has(node);
}

/** The worst trouble at each position, of a node and of the leaves that have no row of their own. */
function worstTrouble({ model, order }: GraphTree): Uint8Array {
  const worst = new Uint8Array(order.node.length);
  model.gradients.trouble.forEach((trouble, node) => {
    const at = order.position[node]!;
    if (trouble > worst[at]!) worst[at] = trouble;
  });
  return worst;
}

function nextWhere(count: number, holds: (position: number) => boolean): Int32Array {
  const next = new Int32Array(count + 1).fill(count);
  for (let at = count - 1; at >= 0; at--) next[at] = holds(at) ? at : next[at + 1]!;
  return next;
}

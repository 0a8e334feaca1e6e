/** Everything the dock says of one node, and where its edges lead. */

import { numbers } from "./answer";
import { edgesOf } from "./graph_edges";
import { compiledOp, type CompiledOp } from "./graph_compiled";
import { bornAt, type NodeGradient } from "./graph_gradients";
import { moduleAt, type GraphTree } from "./graph_groups";
import { leafName, opName, siteOf, stateOf, type GraphModel, type NodeState } from "./graph_model";
import { normAt, parameterNorm, type ShownNorm } from "./graph_summary";
import { leavesAt } from "./graph_order";
import { heldModel, savedTensor, type HeldModel, type SavedTensor } from "./held_model";
import type { CompiledRegion, NodeLabel, Parameter, Site } from "./session";

/** The other end of an edge, and which output of the target the gradient is for. */
export interface NodeLink {
  readonly node: number;
  readonly name: string;
  /** The parameter that a leaf accumulates into, "" for other nodes. */
  readonly parameter: string;
  readonly slot: number;
  readonly output: number;
}

export interface NodeDetails {
  readonly node: number;
  readonly position: number;
  readonly name: string;
  readonly state: NodeState;
  readonly module: { readonly root: string; readonly path: string; readonly estimated: boolean } | null;
  readonly site: Site | undefined;
  readonly siteText: string;
  readonly parameter: Parameter | undefined;
  readonly label: NodeLabel | undefined;
  /** What it is in a compiled region; null for autograd's own. */
  readonly inner: CompiledOp | null;
  /** What it opens into; null where it does not. */
  readonly region: CompiledRegion | null;
  /** The gradient that reached it in this backward. */
  readonly gradient: NodeGradient | undefined;
  readonly norm: ShownNorm | null;
  /** It made a NaN or Inf out of a finite gradient. */
  readonly born: boolean;
  /** Of the `.grad` of the parameters that it uses. */
  readonly parameterNorm: ShownNorm | null;
  /** What it computed: as seen when it had just run, or where every node it goes to was reached by it alone; else null. */
  readonly gradientOut: NodeGradient | null;
  /** Nodes that its gradient comes from, and that it goes on to. */
  readonly from: readonly NodeLink[];
  readonly to: readonly NodeLink[];
  readonly saved: readonly SavedTensor[];
  /** Of its first output, which its gradient shares; null where it was not read. */
  readonly output: { readonly shape: readonly number[]; readonly dtype: string } | null;
}

/** Details of the node at an index of the snapshot's graph. */
export function nodeDetails(tree: GraphTree, node: number): NodeDetails {
  const { model, order } = tree;
  const position = order.position[node]!;
  const site = siteOf(model, node);
  return {
    node,
    position,
    name: opName(model, node),
    state: stateOf(model, node),
    module: moduleAt(tree, position),
    site,
    siteText: site ? (model.siteTexts.get(site.id) ?? "") : "",
    parameter: model.parameters.get(model.parameter[node] ?? -1),
    label: model.labels.get(node),
    inner: compiledOp(model.inside, node),
    region: model.inside?.regions.get(node)?.region ?? null,
    gradient: model.gradients.now.get(node),
    norm: model.isLeaf[node] ? parameterNorm(model, [node]) : normAt(tree, position),
    born: bornAt(model.gradients, node),
    parameterNorm: parameterNorm(model, order.node[position] === node ? leavesAt(model, order, position) : []),
    gradientOut: gradientOut(model, node),
    from: linksFrom(model, node),
    to: linksTo(model, node),
    saved: savedBy(model, node),
    output: outputOf(model, node),
  };
}

function gradientOut(model: GraphModel, node: number): NodeGradient | null {
  const computed = model.gradients.computed.get(node);
  if (computed) return computed;
  const targets = linksTo(model, node).map((one) => one.node);
  const ops = targets.filter((target) => !model.isLeaf[target]);
  const known = ops.flatMap((target) => (edgesOf(model.edges.previous, target).length === 1 ? (model.gradients.now.get(target) ?? []) : []));
  if (known.length === 0 || known.length < ops.length) return null;
  const sum = (of: (gradient: NodeGradient) => number): number => known.reduce((total, gradient) => total + of(gradient), 0);
  return {
    norm: Math.sqrt(sum(({ norm }) => norm * norm)),
    absMax: Math.max(...known.map((gradient) => gradient.absMax)),
    count: sum((gradient) => gradient.count),
    zeros: sum((gradient) => gradient.zeros),
    nan: sum((gradient) => gradient.nan),
    inf: sum((gradient) => gradient.inf),
  };
}

function outputOf({ snapshot: { ledger } }: GraphModel, node: number): NodeDetails["output"] {
  if (!ledger) return null;
  const row = numbers(ledger.output_node).indexOf(node);
  const shape = ledger.shapes[numbers(ledger.output_shape)[row] ?? -1];
  const dtype = ledger.dtypes[numbers(ledger.output_dtype)[row] ?? -1];
  return row >= 0 && shape && dtype !== undefined ? { shape, dtype } : null;
}

function linksFrom(model: GraphModel, node: number): NodeLink[] {
  const { previous, source, slot, inputNr } = model.edges;
  return [...edgesOf(previous, node)].map((edge) => link(model, source[edge]!, slot[edge]!, inputNr[edge]!));
}

function linksTo(model: GraphModel, node: number): NodeLink[] {
  const { next, target, slot, inputNr } = model.edges;
  // What a compiled node opens into is no node that its gradient goes on to.
  const ends = [...edgesOf(next, node)].filter((edge) => target[edge]! < model.nodes || node >= model.nodes);
  return ends.map((edge) => link(model, target[edge]!, slot[edge]!, inputNr[edge]!));
}

function link(model: GraphModel, node: number, slot: number, output: number): NodeLink {
  return { node, name: opName(model, node), parameter: model.isLeaf[node] ? leafName(model, node) : "", slot, output };
}

const rowsOfModel = new WeakMap<HeldModel, ReadonlyMap<number, readonly number[]>>();

/** What a node saved, in the order of the ledger. */
export function savedBy(model: GraphModel, node: number): SavedTensor[] {
  const held = heldModel(model.snapshot);
  return held ? (ledgerRows(held).get(node) ?? []).map((row) => savedTensor(held, row)) : [];
}

function ledgerRows(held: HeldModel): ReadonlyMap<number, readonly number[]> {
  const known = rowsOfModel.get(held);
  if (known) return known;
  const rows = new Map<number, number[]>();
  held.node.forEach((node, row) => {
    const list = rows.get(node);
    if (list) list.push(row);
    else rows.set(node, [row]);
  });
  rowsOfModel.set(held, rows);
  return rows;
}

/**
 * The node that a step along next_functions (or back, to what the gradient came from) leads to; -1 for none. What has
 * a row of its own comes first: leaves end the walk.
 */
export function follow({ model, order }: GraphTree, node: number, direction: "next" | "back"): number {
  const links = direction === "next" ? linksTo(model, node) : linksFrom(model, node);
  return (links.find((one) => order.node[order.position[one.node]!] === one.node) ?? links[0])?.node ?? -1;
}

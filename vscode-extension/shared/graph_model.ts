/**
 * The autograd graph of a snapshot, ready to draw: columns as arrays, edges in both directions, what each node
 * holds, and how far backward has come. Nodes keep the snapshot's indices: forward order, leaves first.
 */

import { numbers, type Numbers } from "./answer";
import { readEdges, type GraphEdges } from "./graph_edges";
import { forwardOrder, openedGraph, type CompiledInside } from "./graph_compiled";
import { readGradients, type NodeGradients } from "./graph_gradients";
import { heldModel, isHeld } from "./held_model";
import { NODE_STATES, type Graph, type Module, type NodeLabel, type Parameter, type Site, type Snapshot } from "./session";

/** What a node does in the backward that runs; "idle" where none runs through this graph. */
export type NodeState = "pending" | "fired" | "running" | "unknown" | "idle";

/** The state of a node by its number in `GraphModel.state`. */
export const STATES: readonly NodeState[] = [...(NODE_STATES as readonly NodeState[]), "idle"];

/** Numbers of the states that are asked for by name. */
export const PENDING = STATES.indexOf("pending");
export const FIRED = STATES.indexOf("fired");
export const RUNNING = STATES.indexOf("running");
export const UNKNOWN = STATES.indexOf("unknown");
export const IDLE = STATES.indexOf("idle");

export interface GraphModel {
  readonly snapshot: Snapshot;
  /** With the ops of compiled regions behind its nodes. */
  readonly graph: Graph;
  readonly count: number;
  /** How many of them are nodes of autograd. */
  readonly nodes: number;
  /** The ops of compiled regions; null where no node opens. */
  readonly inside: CompiledInside | null;
  /** Every node in forward order. */
  readonly forward: Int32Array;
  readonly edges: GraphEdges;
  readonly name: Numbers;
  readonly module: Numbers;
  readonly site: Numbers;
  readonly parameter: Numbers;
  readonly inBackward: Numbers;
  /** 1 for AccumulateGrad: where a gradient ends up in a tensor. */
  readonly isLeaf: Uint8Array;
  readonly state: Uint8Array;
  /** The running node, -1 for none. */
  readonly running: number;
  readonly gradients: NodeGradients;
  /** Held now, and let go in this backward; each storage is charged to its first saver, as in the Held view. */
  readonly held: Float64Array;
  readonly released: Float64Array;
  readonly labels: ReadonlyMap<number, NodeLabel>;
  readonly modules: ReadonlyMap<number, Module>;
  readonly sites: ReadonlyMap<number, Site>;
  readonly siteTexts: ReadonlyMap<number, string>;
  readonly parameters: ReadonlyMap<number, Parameter>;
}

const models = new WeakMap<Snapshot, GraphModel | null>();

/** Null where the snapshot has no graph. Made once per snapshot. */
export function graphModel(snapshot: Snapshot): GraphModel | null {
  const known = models.get(snapshot);
  if (known !== undefined) return known;
  const model = snapshot.graph && snapshot.graph.node_count > 0 ? readGraph(snapshot, snapshot.graph) : null;
  models.set(snapshot, model);
  return model;
}

function readGraph(snapshot: Snapshot, graph: Graph): GraphModel {
  const isLeaf = leaves(graph, numbers(graph.name));
  const edges = readEdges(graph);
  const state = readStates(snapshot, graph);
  const gradients = readGradients(snapshot, { graph, edges, state, parameter: numbers(graph.parameter), isLeaf });
  const opened = openedGraph(snapshot, graph);
  const inside = opened?.inside ?? null;
  const whole = opened?.graph ?? graph;
  const count = whole.node_count;
  return {
    snapshot,
    graph: whole,
    count,
    nodes: graph.node_count,
    inside,
    forward: forwardOrder(graph.node_count, inside),
    edges: opened ? readEdges(whole) : edges,
    name: numbers(whole.name),
    module: numbers(whole.module),
    site: sitesOfNodes(whole),
    parameter: numbers(whole.parameter),
    inBackward: numbers(whole.in_backward),
    isLeaf: padded(isLeaf, count),
    state: inside ? statesInside(state, inside) : state,
    running: state.indexOf(RUNNING),
    gradients: { ...gradients, trouble: padded(gradients.trouble, count) },
    ...heldByNode(snapshot, count),
    labels: new Map((graph.labels ?? []).map((label) => [label.node, label])),
    ...tables(snapshot),
  };
}

function leaves(graph: Graph, name: Numbers): Uint8Array {
  const accumulate = graph.names.indexOf("AccumulateGrad");
  return Uint8Array.from(name, (index) => (index === accumulate ? 1 : 0));
}

/** The line of the user's project where it is known: a line inside a library explains nothing to its user. */
function sitesOfNodes(graph: Graph): Numbers {
  const inner = numbers(graph.site);
  return Int32Array.from(numbers(graph.project_site), (site, node) => (site >= 0 ? site : (inner[node] ?? -1)));
}

function readStates(snapshot: Snapshot, graph: Graph): Uint8Array {
  const { stop } = snapshot;
  const runs = stop.in_backward === true && stop.graph === graph.id;
  if (!runs || !stop.node_states) return new Uint8Array(graph.node_count).fill(IDLE);
  const states = Uint8Array.from(numbers(stop.node_states));
  if (stop.running !== undefined && stop.running >= 0) states[stop.running] = RUNNING;
  return states;
}

function padded(values: Uint8Array, count: number): Uint8Array {
  if (values.length === count) return values;
  const all = new Uint8Array(count);
  all.set(values);
  return all;
}

/** Ops fire with their compiled node; while it runs none of them is known to. */
function statesInside(state: Uint8Array, { nodes, owner }: CompiledInside): Uint8Array {
  const all = padded(state, nodes + owner.length);
  owner.forEach((node, i) => (all[nodes + i] = state[node] === RUNNING ? UNKNOWN : state[node]!));
  return all;
}

function heldByNode(snapshot: Snapshot, count: number): Pick<GraphModel, "held" | "released"> {
  const held = new Float64Array(count);
  const released = new Float64Array(count);
  const model = heldModel(snapshot);
  model?.chargedRow.forEach((row, storage) => {
    const node = model.node[row] ?? -1;
    if (node < 0 || !isHeld(model, storage)) return;
    const of = model.released[storage] ? released : held;
    of[node] = (of[node] ?? 0) + (model.storageBytes[storage] ?? 0);
  });
  return { held, released };
}

function tables(snapshot: Snapshot): Pick<GraphModel, "modules" | "sites" | "siteTexts" | "parameters"> {
  const sites = snapshot.sites ?? [];
  return {
    modules: new Map((snapshot.modules ?? []).map((module) => [module.id, module])),
    sites: new Map(sites.map((site) => [site.id, site])),
    siteTexts: new Map(sites.map((site, i) => [site.id, snapshot.site_texts?.[i] ?? ""])),
    parameters: new Map((snapshot.parameters ?? []).map((parameter) => [parameter.id, parameter])),
  };
}

/** "SoftmaxBackward0". */
export function opName(model: GraphModel, node: number): string {
  return model.graph.names[model.name[node] ?? -1] ?? "";
}

/** "Softmax": the op without the suffix that says it is the first overload's derivative. */
export function shortName(name: string): string {
  const short = name.replace(/Backward0?$/, "");
  return short === "" ? name : short;
}

/** The site of a node, undefined where its line is not known. */
export function siteOf(model: GraphModel, node: number): Site | undefined {
  return model.sites.get(model.site[node] ?? -1);
}

/** "weight": what a leaf is called, with its root where it has no path of its own. */
export function leafName(model: GraphModel, leaf: number): string {
  const parameter = model.parameters.get(model.parameter[leaf] ?? -1);
  return parameter ? parameter.path || parameter.root : "";
}

/** The state of a node, as a word. */
export function stateOf(model: GraphModel, node: number): NodeState {
  return STATES[model.state[node] ?? IDLE] ?? "idle";
}

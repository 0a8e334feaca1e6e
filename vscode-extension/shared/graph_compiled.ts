/**
 * What compiled nodes open into: the ops that AOTAutograd made of their forward, as nodes behind those of the walked graph.
 * They stand before their compiled node in forward order, and have no gradient of their own: only the region as a whole ran.
 */

import { numbers, type Numbers } from "./answer";
import type { StepSnapshot } from "./recorded_step";
import { COMPILED_PHASES, type Column, type CompiledRegion, type Graph } from "./session";

/** An op of a compiled region. */
export interface CompiledOp {
  /** In its graph: "addmm_1". */
  readonly name: string;
  /** "aten.addmm.default"; "input" for what the region is given. */
  readonly target: string;
  /** Of its result; null where it is no single tensor. A size of -1 is symbolic. */
  readonly shape: readonly number[] | null;
  readonly dtype: string;
  /** Its result is kept for backward. */
  readonly saved: boolean;
  /** Bytes of its result; NaN where they are not known. */
  readonly bytes: number;
  /** The ops of the backward that compute it again. */
  readonly recomputedAs: readonly string[];
  readonly region: CompiledRegion;
}

/** The ops behind the nodes of a walked graph. */
export interface CompiledInside {
  /** How many nodes the walk found: the index of the first op. */
  readonly nodes: number;
  /** Of each op, its compiled node and its place in the region. */
  readonly owner: Int32Array;
  readonly op: Int32Array;
  /** The region of each compiled node that opens, and the index of its first op. */
  readonly regions: ReadonlyMap<number, { readonly region: CompiledRegion; readonly first: number }>;
}

/** More ops are not laid out: compiled nodes behind them stay closed. */
export const MOST_OPS = 20_000;

interface Opened {
  readonly regions: readonly CompiledRegion[];
  readonly graph: Graph;
  readonly inside: CompiledInside;
}

const opened = new WeakMap<Graph, Opened>();

/** The graph with its compiled nodes' ops behind its own nodes; null where none opens. Made once while the regions are the same. */
export function openedGraph({ regions = [] }: StepSnapshot, graph: Graph): Pick<Opened, "graph" | "inside"> | null {
  if (regions.length === 0) return null;
  const known = opened.get(graph);
  if (known && known.regions.length === regions.length && known.regions.every((region, i) => region === regions[i])) return known;
  const inside = insideOf(graph, regions);
  if (inside.regions.size === 0) return null;
  const made = { regions, graph: withOps(graph, inside), inside };
  opened.set(graph, made);
  return made;
}

function insideOf(graph: Graph, regions: readonly CompiledRegion[]): CompiledInside {
  const byId = new Map(regions.map((region) => [region.id, region]));
  const found: CompiledInside & { readonly regions: Map<number, { region: CompiledRegion; first: number }> } = { nodes: graph.node_count, owner: new Int32Array(), op: new Int32Array(), regions: new Map() };
  const [owner, op]: [number[], number[]] = [[], []];
  for (const { node, label, region: id = -1 } of graph.labels ?? []) {
    const region = label === "compiled" ? byId.get(id) : undefined;
    if (!region || found.regions.has(node)) continue;
    const forward = forwardOps(region);
    if (forward.length === 0 || owner.length + forward.length > MOST_OPS) continue;
    found.regions.set(node, { region, first: graph.node_count + owner.length });
    for (const at of forward) {
      owner.push(node);
      op.push(at);
    }
  }
  return { ...found, owner: Int32Array.from(owner), op: Int32Array.from(op) };
}

const FORWARD = COMPILED_PHASES.indexOf("forward");

/** Places of the ops of the forward, in order. */
export function forwardOps({ phase, op_count: count }: CompiledRegion): number[] {
  const phases = numbers(phase);
  return Array.from({ length: count }, (_, at) => at).filter((at) => phases[at] === FORWARD);
}

/** Ops are wired as autograd's nodes are: from what uses a result to what made it. What no op uses goes to the compiled node. */
function withOps(graph: Graph, inside: CompiledInside): Graph {
  const names = [...graph.names];
  const nameAt = new Map<string, number>();
  const ofOps = (of: (region: CompiledRegion) => Column): Int32Array => columnOfOps(inside, of);
  const targets = targetNames(inside);
  const name = Int32Array.from(targets, (target) => {
    const known = nameAt.get(target) ?? names.push(target) - 1;
    nameAt.set(target, known);
    return known;
  });
  const none = new Int32Array(inside.op.length).fill(-1);
  const inBackward = numbers(graph.in_backward);
  const edges = edgesOfOps(inside);
  return {
    ...graph,
    names,
    node_count: inside.nodes + inside.op.length,
    name: joined(graph.name, name),
    module: joined(graph.module, ofOps(({ module }) => module)),
    site: joined(graph.site, ofOps(({ site }) => site)),
    project_site: joined(graph.project_site, ofOps(({ project_site: site }) => site)),
    parameter: joined(graph.parameter, none),
    in_backward: joined(graph.in_backward, Int32Array.from(inside.owner, (node) => inBackward[node] ?? 0)),
    edge_count: graph.edge_count + edges.source.length,
    edge_source: joined(graph.edge_source, edges.source),
    edge_slot: joined(graph.edge_slot, edges.slot),
    edge_target: joined(graph.edge_target, edges.target),
    edge_input_nr: joined(graph.edge_input_nr, edges.target.map(() => 0)),
  };
}

function columnOfOps({ owner, op, regions }: CompiledInside, of: (region: CompiledRegion) => Column): Int32Array {
  const read = new Map<CompiledRegion, Numbers>();
  return Int32Array.from(op, (at, i) => {
    const { region } = regions.get(owner[i]!)!;
    const values = read.get(region) ?? numbers(of(region));
    read.set(region, values);
    return values[at] ?? -1;
  });
}

function targetNames(inside: CompiledInside): string[] {
  const targets = columnOfOps(inside, ({ target }) => target);
  return Array.from(targets, (target, i) => shortTarget(inside.regions.get(inside.owner[i]!)!.region.targets[target] ?? ""));
}

/** "addmm": what all ops of ATen share says nothing. Others keep their namespace. */
export function shortTarget(target: string): string {
  return target.replace(/^aten\./, "").replace(/\.default$/, "") || target;
}

interface OpEdges {
  readonly source: number[];
  readonly slot: number[];
  readonly target: number[];
}

function edgesOfOps(inside: CompiledInside): OpEdges {
  const edges: OpEdges = { source: [], slot: [], target: [] };
  for (const [node, { region, first }] of inside.regions) addEdges(edges, region, node, first);
  return edges;
}

function addEdges({ source, slot, target }: OpEdges, region: CompiledRegion, node: number, first: number): void {
  const at = new Map(forwardOps(region).map((op, i) => [op, first + i]));
  const slots = new Map<number, number>();
  const used = new Set<number>();
  const add = (from: number, to: number): void => {
    source.push(from);
    slot.push(slots.get(from) ?? 0);
    target.push(to);
    slots.set(from, (slots.get(from) ?? 0) + 1);
  };
  const [made, uses] = [numbers(region.edge_source), numbers(region.edge_target)];
  for (let i = 0; i < made.length; i++) {
    const [from, to] = [at.get(uses[i]!), at.get(made[i]!)];
    // An op that uses what comes after it, as in a damaged file, has no place in the order.
    if (from === undefined || to === undefined || to >= from) continue;
    add(from, to);
    used.add(to);
  }
  const kinds = numbers(region.target);
  for (const [op, own] of at) if (!used.has(own) && region.targets[kinds[op] ?? -1] !== "input") add(node, own);
}

function joined(column: Column, more: ArrayLike<number>): Column {
  const own = numbers(column);
  const all = column.dtype === "<u4" ? new Uint32Array(own.length + more.length) : column.dtype === "|u1" ? new Uint8Array(own.length + more.length) : new Int32Array(own.length + more.length);
  all.set(own);
  all.set(more, own.length);
  return { dtype: column.dtype, data: new Uint8Array(all.buffer) };
}

/** Every node in forward order: an op stands before its compiled node. */
export function forwardOrder(nodes: number, inside: CompiledInside | null): Int32Array {
  const order = new Int32Array(nodes + (inside?.op.length ?? 0));
  let end = 0;
  for (let node = 0; node < nodes; node++) {
    const first = inside?.regions.get(node)?.first;
    if (inside && first !== undefined) for (let op = first; inside.owner[op - inside.nodes] === node; op++) order[end++] = op;
    order[end++] = node;
  }
  return order;
}

/** Whether a node of the model is an op of a compiled region, and no node of autograd. */
export function isInner(inside: CompiledInside | null, node: number): boolean {
  return inside !== null && node >= inside.nodes;
}

const read = new WeakMap<CompiledRegion, readonly CompiledOp[]>();

/** The op that a node stands for; null for autograd's own. */
export function compiledOp(inside: CompiledInside | null, node: number): CompiledOp | null {
  if (inside === null || node < inside.nodes) return null;
  const region = inside.regions.get(inside.owner[node - inside.nodes] ?? -1)?.region;
  return region ? (opsOf(region)[inside.op[node - inside.nodes]!] ?? null) : null;
}

/** All ops of a region, those of the backward behind those of the forward. */
export function opsOf(region: CompiledRegion): readonly CompiledOp[] {
  const known = read.get(region);
  if (known) return known;
  const [target, shape, dtype, saved] = [numbers(region.target), numbers(region.shape), numbers(region.dtype), numbers(region.saved)];
  const again = recomputations(region);
  const ops = region.op_names.map((name, at): CompiledOp => {
    const size = region.shapes[shape[at] ?? -1] ?? null;
    const kind = region.dtypes[dtype[at] ?? -1] ?? "";
    return { name, target: region.targets[target[at] ?? -1] ?? "", shape: size, dtype: kind, saved: saved[at] === 1, bytes: bytesOf(size, kind), recomputedAs: again.get(at) ?? [], region };
  });
  read.set(region, ops);
  return ops;
}

function recomputations(region: CompiledRegion): Map<number, string[]> {
  const found = new Map<number, string[]>();
  const forward = numbers(region.forward_op);
  numbers(region.recomputed).forEach((is, at) => {
    const of = forward[at] ?? -1;
    if (is === 1 && of >= 0) found.set(of, [...(found.get(of) ?? []), region.op_names[at] ?? ""]);
  });
  return found;
}

/** Shape times element size; NaN where a size is symbolic, or the dtype is of another kind. */
export function bytesOf(shape: readonly number[] | null, dtype: string): number {
  if (shape === null || shape.some((size) => size < 0)) return Number.NaN;
  return shape.reduce((product, size) => product * size, 1) * elementSize(dtype);
}

/** "float32", "torch.bfloat16", "float8_e4m3fn", "bool". */
function elementSize(dtype: string): number {
  const name = dtype.replace(/^torch\./, "");
  if (name === "bool") return 1;
  const bits = /^(?:bfloat|float|uint|int|qint|quint|complex)(\d+)(?:_|$)/.exec(name)?.[1];
  return bits === undefined ? Number.NaN : Number(bits) / 8;
}

/** What a region comes to. `savedBytes` is over those whose size is known; `unsized` counts the others. */
export interface RegionSummary {
  readonly forward: number;
  readonly backward: number;
  readonly saved: number;
  readonly savedBytes: number;
  readonly unsized: number;
  readonly recomputed: number;
}

/** Counts of a region; inputs are no ops. */
export function regionSummary(region: CompiledRegion): RegionSummary {
  const ops = opsOf(region);
  const phases = numbers(region.phase);
  const counted = (phase: number): number => ops.filter(({ target }, at) => phases[at] === phase && target !== "input").length;
  const saved = ops.filter((op, at) => phases[at] === FORWARD && op.saved);
  const sized = saved.filter(({ bytes }) => !Number.isNaN(bytes));
  return {
    forward: counted(FORWARD),
    backward: counted(COMPILED_PHASES.indexOf("backward")),
    saved: saved.length,
    savedBytes: sized.reduce((sum, { bytes }) => sum + bytes, 0),
    unsized: saved.length - sized.length,
    recomputed: ops.filter(({ recomputedAs }) => recomputedAs.length > 0).length,
  };
}

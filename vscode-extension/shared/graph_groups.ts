/**
 * Groups of a graph: the tree of modules over positions in forward order. A module call's nodes stand together, so
 * a group is a run of positions; a module that is called again elsewhere makes another group.
 */

import type { GraphModel } from "./graph_model";
import { leafCount, orderOf, type GraphOrder } from "./graph_order";
import { compiledOp } from "./graph_compiled";
import { BACKWARD_KEY, isCompiled, pathsOf, type PathPart } from "./graph_paths";

/** A position, or (below 0) the complement of a group's id: what stands inside a group, in order. */
export type Child = number;

export interface GraphGroup {
  readonly id: number;
  readonly parent: number;
  /** Names the group in every stop's graph of this program. Keys serve as ids of elements: they hold no space. */
  readonly key: string;
  readonly name: string;
  readonly kind: "graph" | "module" | "backward" | "compiled";
  /** The node that a compiled group is what it opens into; -1 for other groups. */
  readonly node: number;
  readonly root: string;
  readonly path: string;
  readonly depth: number;
  readonly start: number;
  readonly end: number;
  readonly children: readonly Child[];
  /** Equal for groups of the same operations, wired the same, in the same sub-groups. */
  readonly structure: number;
  /** Edges whose ends are in different children: pairs of positions, source then target, in order of source. */
  readonly edges: readonly number[];
}

export interface GraphTree {
  readonly model: GraphModel;
  readonly order: GraphOrder;
  /** Group 0 is the whole graph. */
  readonly groups: readonly GraphGroup[];
  /** The innermost group of each position. */
  readonly groupOf: Int32Array;
  /** Modules of a single operation are drawn as that operation: their parts, by position. */
  readonly single: ReadonlyMap<number, PathPart>;
  /** 1 where a position's group was told from its neighbours. */
  readonly estimated: Uint8Array;
  /** Equal for operations of one name with parameters and inputs alike. */
  readonly opStructure: Int32Array;
}

interface Draft {
  id: number;
  parent: Draft | null;
  part: PathPart;
  key: string;
  name: string;
  depth: number;
  start: number;
  end: number;
  children: (number | Draft)[];
  edges: number[];
  structure: number;
}

/** Groups a graph by module; `withLeaves` gives AccumulateGrad nodes rows of their own. */
export function groupGraph(model: GraphModel, withLeaves: boolean): GraphTree {
  const order = orderOf(model, withLeaves);
  const paths = pathsOf(model, order);
  const whole = nest(paths.parts);
  const single = new Map<number, PathPart>();
  compact(whole, single);
  const drafts = numbered(whole);
  const groupOf = innermost(drafts, order.node.length);
  shareEdges(model, order, drafts, groupOf);
  const opStructure = describe(model, order, drafts);
  return { model, order, groups: drafts.map((one) => finished(one, order)), groupOf, single, estimated: paths.estimated, opStructure };
}

const WHOLE: PathPart = { key: "", name: "", root: "", path: "" };

function nest(parts: readonly (readonly PathPart[])[]): Draft {
  const whole = draft(null, WHOLE, 0, "");
  const calls = new Map<string, number>();
  let open = [whole];
  let last: readonly PathPart[] = [];
  for (let at = 0; at < parts.length; at++) {
    const path = parts[at]!;
    if (path !== last) {
      let shared = 0;
      while (shared < path.length && open[shared + 1]?.part.key === path[shared]!.key) shared++;
      open = open.slice(0, shared + 1);
      for (const part of path.slice(shared)) open.push(begin(open[open.length - 1]!, part, at, calls));
      last = path;
    }
    open[open.length - 1]!.children.push(at);
    for (const group of open) group.end = at + 1;
  }
  return whole;
}

function begin(parent: Draft, part: PathPart, start: number, calls: Map<string, number>): Draft {
  const call = calls.get(part.key) ?? 0;
  calls.set(part.key, call + 1);
  const group = draft(parent, part, start, call === 0 ? part.key : `${part.key}#${call}`);
  parent.children.push(group);
  return group;
}

function draft(parent: Draft | null, part: PathPart, start: number, key: string): Draft {
  const depth = parent ? parent.depth + 1 : 0;
  return { id: 0, parent, part, key, name: part.name, depth, start, end: start, children: [], edges: [], structure: 0 };
}

/** A group around one operation is that operation; around one group, it is that group by a longer name. */
function compact(group: Draft, single: Map<number, PathPart>): void {
  group.children = group.children.map((child) => {
    if (typeof child === "number") return child;
    compact(child, single);
    const [only, ...others] = child.children;
    if (only === undefined || others.length > 0) return child;
    if (typeof only === "number") {
      if (child.part.key === BACKWARD_KEY) return child;
      const inner = single.get(only);
      single.set(only, inner ? { ...inner, name: `${child.name}.${inner.name}` } : { ...child.part, name: child.name });
      return only;
    }
    // A compiled node that is all of its module is called by the module.
    if (isCompiled(only.part) && only.part.path === "") [only.name, only.part] = [child.name, { ...child.part, key: only.part.key }];
    else only.name = `${child.name}.${only.name}`;
    only.parent = group;
    return only;
  });
}

function numbered(whole: Draft): Draft[] {
  const drafts = [whole];
  for (let id = 0; id < drafts.length; id++) {
    const group = drafts[id]!;
    group.id = id;
    group.depth = group.parent ? group.parent.depth + 1 : 0;
    for (const child of group.children) if (typeof child !== "number") drafts.push(child);
  }
  return drafts;
}

function innermost(drafts: readonly Draft[], count: number): Int32Array {
  const groupOf = new Int32Array(count);
  for (const group of drafts) for (const child of group.children) if (typeof child === "number") groupOf[child] = group.id;
  return groupOf;
}

/** Gives each edge to the innermost group that holds both its ends. */
function shareEdges(model: GraphModel, order: GraphOrder, drafts: readonly Draft[], groupOf: Int32Array): void {
  const { next, target: ends } = model.edges;
  for (let position = 0; position < order.node.length; position++) {
    const node = order.node[position]!;
    for (let i = next.start[node]!; i < next.start[node + 1]!; i++) {
      const target = ends[next.order[i]!]!;
      const at = order.position[target]!;
      if (order.node[at] !== target) continue;
      commonGroup(drafts[groupOf[position]!]!, drafts[groupOf[at]!]!).edges.push(position, at);
    }
  }
}

function commonGroup(a: Draft, b: Draft): Draft {
  while (a.depth > b.depth) a = a.parent!;
  while (b.depth > a.depth) b = b.parent!;
  while (a !== b) [a, b] = [a.parent!, b.parent!];
  return a;
}

/** Numbers every operation and group by its structure; groups from the innermost out. */
function describe(model: GraphModel, order: GraphOrder, drafts: readonly Draft[]): Int32Array {
  const ofOp = describeOps(model, order);
  const known = new Map<string, number>();
  for (let id = drafts.length - 1; id >= 0; id--) {
    const group = drafts[id]!;
    const text = describeGroup(group, ofOp);
    group.structure = known.get(text) ?? known.size;
    known.set(text, group.structure);
  }
  return ofOp;
}

function describeGroup({ children, edges, start }: Draft, ofOp: Int32Array): string {
  let text = "";
  for (const child of children) text += typeof child === "number" ? `${ofOp[child]},` : `${child.name}:${child.structure},`;
  text += "|";
  for (const at of edges) text += `${at - start},`;
  return text;
}

/** Equal for equal names, numbers of parameters and of inputs, and labels. */
function describeOps(model: GraphModel, order: GraphOrder): Int32Array {
  const { start } = model.edges.next;
  const known = new Map<string, number>();
  return order.node.map((node, position) => {
    const label = model.labels.get(node)?.label ?? "";
    const inner = compiledOp(model.inside, node);
    const marks = inner ? `${inner.saved ? "saved" : ""} ${inner.recomputedAs.length > 0 ? "again" : ""}` : "";
    const text = `${model.name[node]} ${leafCount(model, order, position)} ${start[node + 1]! - start[node]!} ${label}${marks}`;
    const found = known.get(text) ?? known.size;
    known.set(text, found);
    return found;
  });
}

function kindOf({ parent, part }: Draft): GraphGroup["kind"] {
  if (parent === null) return "graph";
  return part.key === BACKWARD_KEY ? "backward" : isCompiled(part) ? "compiled" : "module";
}

/** A compiled node is the last of its group. */
function finished(group: Draft, order: GraphOrder): GraphGroup {
  const kind = kindOf(group);
  const node = kind === "compiled" ? order.node[group.end - 1]! : -1;
  const children = group.children.map((child) => (typeof child === "number" ? child : ~child.id));
  const { id, key, name, depth, start, end, structure, edges } = group;
  const { root, path } = group.part;
  return { id, parent: group.parent?.id ?? -1, key, name, kind, node, root, path, depth, start, end, children, structure, edges };
}

/** The module that a position belongs to, as far as it is known: its own, or its group's. */
export function moduleAt(tree: GraphTree, position: number): { root: string; path: string; estimated: boolean } | null {
  const own = tree.model.modules.get(tree.model.module[tree.order.node[position]!] ?? -1);
  if (own) return { root: own.root, path: own.path, estimated: false };
  const group = tree.groups[tree.groupOf[position]!]!;
  return group.kind === "module" && tree.estimated[position] ? { root: group.root, path: group.path, estimated: true } : null;
}

/** The group of a module's first call, or the position of its only operation; null where the graph has neither. */
export function findModule(tree: GraphTree, root: string, path: string): { group: number } | { position: number } | null {
  const isOne = ({ kind, path: own }: GraphGroup): boolean => kind === "module" || (kind === "compiled" && own !== "");
  const group = tree.groups.find((one) => isOne(one) && one.root === root && covers(tree, one, path));
  if (group) return { group: group.id };
  for (const [position, part] of tree.single) if (part.root === root && part.path === path) return { position };
  return path === "" && tree.groups.length > 1 ? { group: 0 } : null;
}

/** Whether a group stands for the module at `path`: it may bear the names of several that hold nothing else. */
function covers(tree: GraphTree, group: GraphGroup, path: string): boolean {
  if (group.path === path) return true;
  const parent = tree.groups[group.parent]!.path;
  return path !== "" && group.path.startsWith(`${path}.`) && path.length > parent.length && path.startsWith(parent);
}

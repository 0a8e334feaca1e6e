/** Where each position stands in the tree of modules: one part per level, a ModuleList's index with its list. */

import { isInner, type CompiledInside } from "./graph_compiled";
import { opName, shortName, type GraphModel } from "./graph_model";
import type { GraphOrder } from "./graph_order";
import type { Module } from "./session";

/** One level of a module path: "blocks.7", of which `path` is the fqn inside `root`. */
export interface PathPart {
  readonly key: string;
  readonly name: string;
  readonly root: string;
  readonly path: string;
}

export interface PositionPaths {
  /** The parts of each position, outermost first; empty where it belongs to no module. */
  readonly parts: readonly (readonly PathPart[])[];
  /** 1 where the module is not recorded and was told from the position between nodes of known modules. */
  readonly estimated: Uint8Array;
}

const NO_PARTS: readonly PathPart[] = [];

/** Nodes that a backward with create_graph made stand in a group of their own. */
export const BACKWARD_KEY = ":backward";
const BACKWARD_PARTS: readonly PathPart[] = [{ key: BACKWARD_KEY, name: "", root: "", path: "" }];

/** What a compiled node opens into stands in a group of its own, one for each of them. */
const COMPILED_KEY = /^:compiled:\d+$/;

/** Whether a part is a compiled node's, and no module. */
export function isCompiled({ key }: PathPart): boolean {
  return COMPILED_KEY.test(key);
}

/** Paths of all positions. */
export function pathsOf(model: GraphModel, order: GraphOrder): PositionPaths {
  const byModule = partsByModule(model);
  const module = Array.from(order.node, (node) => model.module[node] ?? -1);
  const parts = Array.from(order.node, (node, at) => byModule.get(module[at]!) ?? unplaced(model, node));
  const estimated = new Uint8Array(parts.length);
  if (!isRecorded(model)) placeBetween(parts, module, estimated);
  joinLeaves(model, order, parts);
  if (model.inside) enterCompiled(model, model.inside, order, parts, byModule);
  return { parts, estimated };
}

/** Ops of a compiled region stand in their node's group, in the modules that they belong to. */
function enterCompiled(model: GraphModel, inside: CompiledInside, order: GraphOrder, parts: (readonly PathPart[])[], byModule: ReadonlyMap<number, readonly PathPart[]>): void {
  const paths = new Map<string, readonly PathPart[]>();
  const numbered = new Map([...inside.regions.keys()].sort((a, b) => a - b).map((node, i) => [node, i]));
  order.node.forEach((node, at) => {
    const owner = isInner(inside, node) ? inside.owner[node - inside.nodes]! : inside.regions.has(node) ? node : -1;
    if (owner < 0) return;
    const module = owner === node ? -1 : (model.module[node] ?? -1);
    const key = `${owner} ${module}`;
    const known = paths.get(key) ?? pathInside(parts[order.position[owner]!]!, byModule.get(module) ?? NO_PARTS, `:compiled:${numbered.get(owner)!}`, shortName(opName(model, owner)));
    paths.set(key, known);
    parts[at] = known;
  });
}

function pathInside(around: readonly PathPart[], own: readonly PathPart[], key: string, name: string): readonly PathPart[] {
  const inner = own.slice(sharedParts(around, own).length).map((part) => ({ ...part, key: `${key}/${part.key}` }));
  return [...around, { key, name, root: "", path: "" }, ...inner];
}

function unplaced(model: GraphModel, node: number): readonly PathPart[] {
  return model.inBackward[node] ? BACKWARD_PARTS : NO_PARTS;
}

/** With a recorder every node made inside a module call has a module, so one without stands outside them all. */
function isRecorded(model: GraphModel): boolean {
  return (model.snapshot.recording ?? null) !== null;
}

function partsByModule(model: GraphModel): Map<number, readonly PathPart[]> {
  const used = new Set<number>(model.module);
  const modules = [...model.modules.values()].filter((module) => used.has(module.id));
  const several = new Set(modules.map((module) => module.root)).size > 1;
  return new Map(modules.map((module) => [module.id, partsOf(module, several)]));
}

/** The parts of a module's path. An index joins the name before it: "blocks.7", as rows of one list read alike. */
export function partsOf({ root, path }: Pick<Module, "root" | "path">, withRoot: boolean): readonly PathPart[] {
  const parts: PathPart[] = withRoot ? [{ key: keyOf(root, ""), name: root, root, path: "" }] : [];
  const words = path === "" ? [] : path.split(".");
  for (let end = 1, start = 0; end <= words.length; end++) {
    const joins = end < words.length && isIndex(words[end]!) && !isIndex(words[end - 1]!) && end - start === 1;
    if (joins) continue;
    const full = words.slice(0, end).join(".");
    const name = words.slice(start, end).join(".");
    // A number alone says nothing: the modules of a Sequential are named with the variable that holds it.
    const bare = parts.length === 0 && isIndex(name);
    parts.push({ key: keyOf(root, full), name: bare ? `${root}.${name}` : name, root, path: full });
    start = end;
  }
  return parts;
}

function keyOf(root: string, path: string): string {
  return `${root}:${path}`.replace(/\s/g, "_");
}

function isIndex(word: string): boolean {
  return /^\d+$/.test(word);
}

/**
 * Without a recorder only operations on parameters have a module. Autograd numbers nodes in forward order, so what
 * stands between two nodes of `blocks.7.attn` was made in its call (unless a module is called twice).
 */
function placeBetween(parts: (readonly PathPart[])[], module: readonly number[], estimated: Uint8Array): void {
  let before = -1;
  for (let at = 0; at <= parts.length; at++) {
    if (at < parts.length && module[at]! < 0) continue;
    if (before >= 0 && at < parts.length) {
      const shared = sharedParts(parts[before]!, parts[at]!);
      for (let between = before + 1; between < at; between++) {
        if (parts[between] !== BACKWARD_PARTS && shared.length > 0) {
          parts[between] = shared;
          estimated[between] = 1;
        }
      }
    }
    before = at;
  }
}

/** What two paths have in common, outermost first. */
export function sharedParts(a: readonly PathPart[], b: readonly PathPart[]): readonly PathPart[] {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared]!.key === b[shared]!.key) shared++;
  return shared === a.length ? a : a.slice(0, shared);
}

/** A leaf's row stands in the group of the operation after it, so that it never splits one. */
function joinLeaves(model: GraphModel, order: GraphOrder, parts: (readonly PathPart[])[]): void {
  for (let at = parts.length - 2; at >= 0; at--) {
    if (model.isLeaf[order.node[at]!]) parts[at] = parts[at + 1]!;
  }
}

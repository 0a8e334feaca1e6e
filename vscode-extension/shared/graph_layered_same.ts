/** Whether two snapshots have the same graph: then its groups, order and layout serve both, as while a session plays. */

import type { Numbers } from "./answer";
import type { GraphTree } from "./graph_groups";
import type { GraphModel } from "./graph_model";

/** The tree of another snapshot's model, where that has the same structure; null where it must be grouped anew. */
export function treeForModel(tree: GraphTree, model: GraphModel): GraphTree | null {
  return sameStructure(tree.model, model) ? { ...tree, model } : null;
}

/** A digest in a stranger's file may lie: everything that groups and order are made of is compared. */
function sameStructure(a: GraphModel, b: GraphModel): boolean {
  if (a.graph.digest !== b.graph.digest || a.count !== b.count || !sameModules(a, b)) return false;
  if (a.graph === b.graph) return true;
  const columns = (model: GraphModel): readonly Numbers[] => [model.name, model.module, model.inBackward, model.parameter, model.edges.source, model.edges.target];
  const others = columns(b);
  return columns(a).every((column, i) => sameNumbers(column, others[i]!)) && sameTexts(a.graph.names, b.graph.names) && sameLabels(a, b);
}

function sameModules({ snapshot: a, modules }: GraphModel, { snapshot: b, modules: others }: GraphModel): boolean {
  if (((a.recording ?? null) === null) !== ((b.recording ?? null) === null)) return false;
  if (a.modules === b.modules) return true;
  return modules.size === others.size && [...modules].every(([id, { root, path }]) => others.get(id)?.root === root && others.get(id)?.path === path);
}

function sameLabels({ labels: a }: GraphModel, { labels: b }: GraphModel): boolean {
  return a.size === b.size && [...a].every(([node, { label, region }]) => b.get(node)?.label === label && b.get(node)?.region === region);
}

function sameNumbers(a: Numbers, b: Numbers): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

/** The rows on show: the tree as it is opened, or what the filter leaves of it, or one sorted list. */

import { parameterSubject, variableSubject, type Filter, type FilterSubject } from "./gradient_filter";
import { parametersBelow, type GradientNode, type ModuleNode, type ParameterNode } from "./gradient_tree";
import { compareRows, type Sort } from "./gradient_sort";

/** A row as drawn, with its place among its siblings for a screen reader. */
export interface VisibleRow {
  readonly key: string;
  readonly node: GradientNode;
  /** From 1, as are places. */
  readonly level: number;
  readonly posInSet: number;
  readonly setSize: number;
  /** null where there is nothing to open. */
  readonly expanded: boolean | null;
  /** Shown under its full name: its module's row is not above it. */
  readonly full: boolean;
}

export interface Arrangement {
  readonly isOpen: (node: GradientNode) => boolean;
  readonly filter: Filter;
  readonly sort: Sort | null;
}

export function visibleRows(tree: readonly GradientNode[], how: Arrangement): VisibleRow[] {
  const top = tree.length === 1 && tree[0]!.kind === "root" ? tree[0]!.children : tree;
  const passes = passing(tree, how.filter);
  const found: VisibleRow[] = [];
  if (how.sort === null) {
    append(found, top, 1, how.isOpen, passes);
    return found;
  }
  const models = tree.filter((node): node is ModuleNode => node.kind === "root");
  appendSorted(found, models.flatMap(parametersBelow).filter(passes), how.sort);
  append(found, tree.filter((node) => node.kind !== "root"), 1, how.isOpen, passes);
  return found;
}

type Passes = (node: GradientNode) => boolean;

/** A module passes with any parameter below it. */
function passing(tree: readonly GradientNode[], filter: Filter): Passes {
  if (filter.empty) return () => true;
  const found = new Set<GradientNode>();
  const visit = (node: GradientNode): boolean => {
    const passes = node.children.length > 0 ? node.children.filter(visit).length > 0 : filter.matches(subjectOf(node));
    if (passes) found.add(node);
    return passes;
  };
  tree.forEach(visit);
  return (node) => found.has(node);
}

function subjectOf(node: GradientNode): FilterSubject {
  if (node.kind === "parameter") return parameterSubject(node.row);
  if (node.kind === "variable") return variableSubject(node.variable);
  return { names: [node.fullName], shape: [], row: null };
}

function append(
  found: VisibleRow[],
  nodes: readonly GradientNode[],
  level: number,
  isOpen: Arrangement["isOpen"],
  passes: Passes,
): void {
  const shown = nodes.filter(passes);
  shown.forEach((node, at) => {
    const expanded = node.children.length === 0 ? null : isOpen(node);
    found.push({ key: node.key, node, level, posInSet: at + 1, setSize: shown.length, expanded, full: false });
    if (expanded === true) append(found, node.children, level + 1, isOpen, passes);
  });
}

function appendSorted(found: VisibleRow[], shown: readonly ParameterNode[], sort: Sort): void {
  const sorted = [...shown].sort((a, b) => compareRows(a.row, b.row, sort));
  const setSize = sorted.length;
  sorted.forEach((node, at) => found.push({ key: node.key, node, level: 1, posInSet: at + 1, setSize, expanded: null, full: true }));
}

/** Keys of the nodes above one, outermost first; null when it is not in the tree. */
export function keysAbove(tree: readonly GradientNode[], key: string): string[] | null {
  for (const node of tree) {
    if (node.key === key) return [];
    const below = keysAbove(node.children, key);
    if (below !== null) return [node.key, ...below];
  }
  return null;
}

/**
 * Repeated siblings: runs of units that follow one another in a group, each of the same structure and wired the
 * same inside. A unit is a block with the loose operations behind it (`blocks.3` and its residual add), or a
 * stretch of operations of no module that a loop repeats.
 */

import { opName, shortName } from "./graph_model";
import type { Child, GraphGroup, GraphTree } from "./graph_groups";

/** `count` units of `period` children each, from child `first` on. */
export interface FoldRun {
  readonly first: number;
  readonly period: number;
  readonly count: number;
}

/** A unit of operations alone is folded from this many repetitions and this many rows on: fewer read as they are. */
const LEAST_LOOPS = 3;
const LEAST_LOOP_ROWS = 9;
const LONGEST_PERIOD = 32;

const runsOfTree = new WeakMap<GraphTree, Map<number, readonly FoldRun[]>>();

/** The repeated units among a group's children, in order, none overlapping. Made once per group. */
export function foldRuns(tree: GraphTree, group: GraphGroup): readonly FoldRun[] {
  let known = runsOfTree.get(tree);
  if (!known) runsOfTree.set(tree, (known = new Map()));
  const found = known.get(group.id) ?? findRuns(tree, group);
  known.set(group.id, found);
  return found;
}

function findRuns(tree: GraphTree, group: GraphGroup): FoldRun[] {
  const tokens = tokensOf(tree, group);
  const runs: FoldRun[] = [];
  for (let first = 0; first < tokens.length; ) {
    const run = runFrom(tree, group, tokens, first);
    if (run) runs.push(run);
    first += run ? run.period * run.count : 1;
  }
  return runs;
}

/** Equal for children that may repeat one another: equal structure, and names that differ in an index at most. */
function tokensOf(tree: GraphTree, group: GraphGroup): Int32Array {
  const known = new Map<string, number>();
  return Int32Array.from(group.children, (child) => {
    const text = tokenOf(tree, child);
    const token = known.get(text) ?? known.size;
    known.set(text, token);
    return token;
  });
}

function tokenOf(tree: GraphTree, child: Child): string {
  if (child < 0) {
    const { name, structure } = tree.groups[~child]!;
    return `${stemOf(name)} ${structure}`;
  }
  return `${stemOf(tree.single.get(child)?.name ?? "")}:${tree.opStructure[child]}`;
}

/** "blocks.7" and "block7" without their number. */
function stemOf(name: string): string {
  return name.replace(/\d+$/, "#");
}

/** The run that covers most from a child on; of equal ones that with the shortest unit. */
function runFrom(tree: GraphTree, group: GraphGroup, tokens: Int32Array, first: number): FoldRun | null {
  let best: FoldRun | null = null;
  const longest = Math.min(LONGEST_PERIOD, Math.floor((tokens.length - first) / 2));
  for (let period = 1; period <= longest; period++) {
    const least = leastCount(tree, group, first, period);
    if (least === Infinity || tokens[first] !== tokens[first + period]) continue;
    const count = repetitions(tree, group, tokens, { first, period });
    if (count >= least && (!best || period * count > best.period * best.count)) best = { first, period, count };
  }
  return best;
}

/** From how many repetitions on a unit is folded; Infinity where it never is. */
function leastCount(tree: GraphTree, group: GraphGroup, first: number, period: number): number {
  const unit = group.children.slice(first, first + period);
  if (unit[0]! < 0) return 2;
  if (tree.single.has(unit[0]!)) return LEAST_LOOPS;
  const names = unit.some((child) => child < 0 || tree.single.has(child));
  return names ? Infinity : Math.max(LEAST_LOOPS, Math.ceil(LEAST_LOOP_ROWS / period));
}

/** How many units follow one another; unit by unit, so that a run which ends early costs little. */
function repetitions(
  tree: GraphTree,
  group: GraphGroup,
  tokens: Int32Array,
  { first, period }: { first: number; period: number },
): number {
  const wires = unitWires(tree, group, first, period);
  let count = 1;
  for (;;) {
    const next = first + count * period;
    for (let i = next; i < next + period; i++) if (tokens[i] !== tokens[i - period]) return count;
    if (period > 1 && unitWires(tree, group, next, period) !== wires) return count;
    count++;
  }
}

/** The edges between the children of one unit, from its start. */
function unitWires(tree: GraphTree, group: GraphGroup, first: number, period: number): string {
  const [start, end] = [childStart(tree, group, first), childStart(tree, group, first + period)];
  let wires = "";
  for (let i = firstEdgeFrom(group.edges, start); i < group.edges.length && group.edges[i]! < end; i += 2) {
    if (group.edges[i + 1]! >= start) wires += `${group.edges[i]! - start},${group.edges[i + 1]! - start};`;
  }
  return wires;
}

/** The index of the first pair whose source is not before `position`. */
function firstEdgeFrom(edges: readonly number[], position: number): number {
  let [low, high] = [0, edges.length >> 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[2 * middle]! < position) low = middle + 1;
    else high = middle;
  }
  return 2 * low;
}

/** The position at which a group's child begins; behind the last child, the group's end. */
export function childStart(tree: GraphTree, group: GraphGroup, index: number): number {
  const child = group.children[index];
  if (child === undefined) return group.end;
  return child >= 0 ? child : tree.groups[~child]!.start;
}

/** "blocks.0–6": what a stretch of a run's units is called. */
export function foldName(tree: GraphTree, group: GraphGroup, run: FoldRun, unit: number, count: number): string {
  const at = run.first + unit * run.period;
  const from = nameOf(tree, group.children[at]!);
  if (from === "") return loopName(tree, group.children.slice(at, at + run.period));
  const to = nameOf(tree, group.children[at + (count - 1) * run.period]!);
  return from === to ? from : `${from}–${/\d+$/.exec(to)?.[0] ?? to}`;
}

function nameOf(tree: GraphTree, child: Child): string {
  return child < 0 ? tree.groups[~child]!.name : (tree.single.get(child)?.name ?? "");
}

/** A unit of operations alone is called by what it begins with. */
function loopName(tree: GraphTree, unit: readonly Child[]): string {
  const names = unit.slice(0, 3).map((child) => shortName(opName(tree.model, tree.order.node[child]!)));
  return names.join(", ") + (unit.length > 3 ? " …" : "");
}

/** The rows of a graph: what is visible under the groups that are open, in forward order. */

import { childStart, foldName, foldRuns, type FoldRun } from "./graph_folds";
import type { Child, GraphGroup, GraphTree } from "./graph_groups";
import { opName } from "./graph_model";

/**
 * `op`: one node. `closed`, `open`: a group; an open one is a heading and has no mark of its own.
 * `fold`: `count` repeated units, which stand for the positions `start` to `end - 1`.
 */
export interface GraphRow {
  readonly kind: "op" | "closed" | "open" | "fold";
  readonly key: string;
  readonly name: string;
  /** Depth in the tree, from 1. */
  readonly level: number;
  /** Null where there is nothing to open. */
  readonly expanded: boolean | null;
  readonly start: number;
  readonly end: number;
  /** The group it is, or that it stands in. */
  readonly group: number;
  readonly count: number;
  /** The row of the open group around it, -1 at the top. */
  readonly parent: number;
  /** The key of the unfolded stretch that it is a member of, "" for none: closing it folds that again. */
  readonly unfolded: string;
  /** The key of its unit when a single one of a run was taken out, "" for none. */
  readonly unit: string;
  readonly setSize: number;
  readonly posInSet: number;
}

export interface GraphRows {
  readonly tree: GraphTree;
  readonly rows: readonly GraphRow[];
  /** The row that stands for each position. */
  readonly rowOf: Int32Array;
}

/** Keys of open groups, of units taken out of a fold, and of stretches shown one by one. */
export type OpenKeys = ReadonlySet<string>;

type Draft = { -readonly [K in keyof GraphRow]: GraphRow[K] };

interface Building {
  readonly tree: GraphTree;
  readonly open: OpenKeys;
  readonly rows: Draft[];
}

interface Place {
  readonly level: number;
  readonly parent: number;
  readonly unfolded: string;
  readonly unit: string;
}

/** Builds the rows; `byModule` false gives every node a row, in one list. */
export function buildRows(tree: GraphTree, open: OpenKeys, byModule: boolean): GraphRows {
  const building: Building = { tree, open, rows: [] };
  const top: Place = { level: 1, parent: -1, unfolded: "", unit: "" };
  if (byModule) addChildren(building, tree.groups[0]!, top);
  else addFlat(building, top);
  number(building.rows);
  return { tree, rows: building.rows, rowOf: rowsOfPositions(tree, building.rows) };
}

/** Every node in sequence; what a compiled one opens into stays in it. */
function addFlat(building: Building, top: Place): void {
  const { groups, order } = building.tree;
  const compiled = new Map(groups.filter(({ kind }) => kind === "compiled").map((group) => [group.start, group]));
  for (let position = 0; position < order.node.length; ) {
    const group = compiled.get(position);
    addChild(building, group ? ~group.id : position, top);
    position = group ? group.end : position + 1;
  }
}

function addChildren(building: Building, group: GraphGroup, place: Place): void {
  const runs = foldRuns(building.tree, group);
  let child = 0;
  for (const run of runs) {
    for (; child < run.first; child++) addChild(building, group.children[child]!, place);
    addRun(building, group, run, place);
    child += run.period * run.count;
  }
  for (; child < group.children.length; child++) addChild(building, group.children[child]!, place);
}

function addChild(building: Building, child: Child, place: Place): void {
  const { tree, rows } = building;
  if (child >= 0) {
    rows.push(opRow(tree, child, place));
    return;
  }
  const group = tree.groups[~child]!;
  const isOpen = building.open.has(group.key);
  const parent = rows.length;
  rows.push(groupRow(group, isOpen, place));
  if (isOpen) addChildren(building, group, { level: place.level + 1, parent, unfolded: "", unit: "" });
}

const ALONE = { setSize: 0, posInSet: 0 };

function opRow(tree: GraphTree, position: number, place: Place): Draft {
  const name = opName(tree.model, tree.order.node[position]!);
  const group = tree.groupOf[position]!;
  const key = opKey(tree, position);
  return { kind: "op", key, name, expanded: null, start: position, end: position + 1, group, count: 1, ...place, ...ALONE };
}

/** Names an operation in every stop's graph of this program: by its place in its group. */
export function opKey(tree: GraphTree, position: number): string {
  const group = tree.groups[tree.groupOf[position]!]!;
  return `${group.key}@${position - group.start}`;
}

function groupRow(group: GraphGroup, isOpen: boolean, place: Place): Draft {
  const { key, name, start, end, id } = group;
  const kind = isOpen ? "open" : "closed";
  return { kind, key, name, expanded: isOpen, start, end, group: id, count: 1, ...place, ...ALONE };
}

/** Units that are open, or hold something open, stand alone; what is between them stays folded. */
function addRun(building: Building, group: GraphGroup, run: FoldRun, place: Place): void {
  let unit = 0;
  while (unit < run.count) {
    let end = unit;
    while (end < run.count && !isTakenOut(building, group, run, end)) end++;
    if (end > unit) addStretch(building, group, run, [unit, end], place);
    if (end < run.count) addUnit(building, group, run, end, { ...place, unit: unitKey(building.tree, group, run, end) });
    unit = end + 1;
  }
}

function addStretch(building: Building, group: GraphGroup, run: FoldRun, [from, to]: [number, number], place: Place): void {
  if (to - from === 1) {
    addUnit(building, group, run, from, place);
    return;
  }
  const { tree, open, rows } = building;
  const key = `${unitKey(tree, group, run, from)}+${to - from}`;
  if (open.has(key)) {
    for (let unit = from; unit < to; unit++) addUnit(building, group, run, unit, { ...place, unfolded: key });
    return;
  }
  const start = childStart(tree, group, run.first + from * run.period);
  const end = childStart(tree, group, run.first + to * run.period);
  const name = foldName(tree, group, run, from, to - from);
  rows.push({ kind: "fold", key, name, expanded: false, start, end, group: group.id, count: to - from, ...place, ...ALONE });
}

function addUnit(building: Building, group: GraphGroup, run: FoldRun, unit: number, place: Place): void {
  const at = run.first + unit * run.period;
  for (let child = at; child < at + run.period; child++) addChild(building, group.children[child]!, place);
}

function isTakenOut({ tree, open }: Building, group: GraphGroup, run: FoldRun, unit: number): boolean {
  if (open.size === 0) return false;
  const at = run.first + unit * run.period;
  for (let i = at; i < at + run.period; i++) {
    const child = group.children[i]!;
    if (child < 0 && open.has(tree.groups[~child]!.key)) return true;
  }
  return open.has(unitKey(tree, group, run, unit));
}

/** The key that takes one unit out of its fold with nothing in it open. */
export function unitKey(tree: GraphTree, group: GraphGroup, run: FoldRun, unit: number): string {
  const first = group.children[run.first + unit * run.period]!;
  return `~${first < 0 ? tree.groups[~first]!.key : opKey(tree, first)}`;
}

/** Place and number among the rows of one parent. */
function number(rows: readonly Draft[]): void {
  const sizes = new Map<number, number>();
  for (const row of rows) {
    row.posInSet = (sizes.get(row.parent) ?? 0) + 1;
    sizes.set(row.parent, row.posInSet);
  }
  for (const row of rows) row.setSize = sizes.get(row.parent) ?? 1;
}

function rowsOfPositions(tree: GraphTree, rows: readonly GraphRow[]): Int32Array {
  const rowOf = new Int32Array(tree.order.node.length).fill(-1);
  rows.forEach((row, index) => {
    if (row.kind !== "open") rowOf.fill(index, row.start, row.end);
  });
  return rowOf;
}

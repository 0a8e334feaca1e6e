/** Which keys are open after a row is opened or closed, and what must be open for a node to have a row. */

import { childStart, foldRuns, type FoldRun } from "./graph_folds";
import { findModule, type GraphGroup, type GraphTree } from "./graph_groups";
import { buildRows, unitKey, type GraphRow, type OpenKeys } from "./graph_rows";

/** Rows that a graph is first shown with at most, when the top level is shorter. */
const FIRST_ROWS = 12;

/** Opens a closed group, or shows a fold's units one by one. Taking one of these then folds the others again. */
export function openRow(open: OpenKeys, row: GraphRow): OpenKeys {
  if (row.kind !== "closed" && row.kind !== "fold") return open;
  const keys = new Set(open);
  keys.delete(row.unfolded);
  return keys.add(row.key);
}

/** Closes an open group; folds again what a unit or an unfolded stretch was taken from. The same set: nothing to close. */
export function closeRow(open: OpenKeys, row: GraphRow): OpenKeys {
  const closes = row.kind === "open" ? row.key : row.unfolded || row.unit;
  if (!open.has(closes)) return open;
  const keys = new Set(open);
  keys.delete(closes);
  if (row.kind === "open") keys.delete(row.unit);
  return keys;
}

/** Opens what stands around a position, and no more: of a fold, only its unit. */
export function revealPosition(tree: GraphTree, open: OpenKeys, position: number): OpenKeys {
  return revealPositions(tree, open, [position]);
}

/** Opens what stands around each of the positions. The same set where nothing was closed. */
export function revealPositions(tree: GraphTree, open: OpenKeys, positions: Iterable<number>): OpenKeys {
  const keys = new Set(open);
  for (const position of positions) {
    let group = tree.groups[tree.groupOf[position]!]!;
    // A compiled node has a row while its group is closed.
    if (group.kind === "compiled" && group.node === tree.order.node[position] && !keys.has(group.key)) group = tree.groups[group.parent]!;
    takeOut(tree, keys, group, position);
    for (; group.parent >= 0; group = tree.groups[group.parent]!) keys.add(group.key);
  }
  return keys.size === open.size ? open : keys;
}

/** Gives a group a row of its own, closed or open as it was. */
export function revealGroup(tree: GraphTree, open: OpenKeys, id: number): OpenKeys {
  const group = tree.groups[id]!;
  if (group.parent < 0) return open;
  const parent = tree.groups[group.parent]!;
  const keys = new Set(open);
  if (!keys.has(group.key)) takeOut(tree, keys, parent, group.start);
  for (let around = parent; around.parent >= 0; around = tree.groups[around.parent]!) keys.add(around.key);
  return keys.size === open.size ? open : keys;
}

/** Gives a module a row of its own. */
export function revealModule(tree: GraphTree, open: OpenKeys, root: string, path: string): OpenKeys {
  const found = findModule(tree, root, path);
  if (!found) return open;
  return "group" in found ? revealGroup(tree, open, found.group) : revealPosition(tree, open, found.position);
}

function takeOut(tree: GraphTree, keys: Set<string>, group: GraphGroup, position: number): void {
  const run = foldRuns(tree, group).find((one) => holds(tree, group, one, position));
  if (!run) return;
  let unit = 0;
  while (unit + 1 < run.count && childStart(tree, group, run.first + (unit + 1) * run.period) <= position) unit++;
  keys.add(unitKey(tree, group, run, unit));
}

function holds(tree: GraphTree, group: GraphGroup, run: FoldRun, position: number): boolean {
  const end = childStart(tree, group, run.first + run.period * run.count);
  return position >= childStart(tree, group, run.first) && position < end;
}

/** Opens every group and shows every fold's units. */
export function openAll(tree: GraphTree): OpenKeys {
  let open: OpenKeys = new Set(tree.groups.slice(1).map((group) => group.key));
  for (;;) {
    const folds = buildRows(tree, open, true).rows.filter((row) => row.kind === "fold");
    if (folds.length === 0) return open;
    open = new Set([...open, ...folds.map((row) => row.key)]);
  }
}

/** Opens the siblings of a row as well as itself. */
export function openSiblings(open: OpenKeys, rows: readonly GraphRow[], row: GraphRow): OpenKeys {
  const closed = rows.filter((one) => one.parent === row.parent && one.kind === "closed");
  return closed.reduce<OpenKeys>(openRow, open);
}

/** What is open at first: the running node, else the largest groups while few rows are shown. */
export function openAtFirst(tree: GraphTree, running: number): OpenKeys {
  if (running >= 0) return revealPosition(tree, new Set(), tree.order.position[running]!);
  let open: OpenKeys = new Set<string>();
  for (;;) {
    const { rows } = buildRows(tree, open, true);
    const closed = rows.filter((row) => row.kind === "closed" && tree.groups[row.group]!.kind !== "compiled").sort((a, b) => b.end - b.start - (a.end - a.start));
    const [largest] = closed;
    if (!largest || rows.length > 3) return open;
    const next = openRow(open, largest);
    if (rows.length > 1 && buildRows(tree, next, true).rows.length > FIRST_ROWS) return open;
    open = next;
  }
}

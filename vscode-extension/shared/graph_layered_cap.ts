/** How much is drawn at most: groups opened longest ago are folded again where more would be open. */

import type { GraphTree } from "./graph_groups";
import { buildRows, type OpenKeys } from "./graph_rows";

/** Rows that are drawn at most, open groups among them. */
export const MOST_ITEMS = 300;

export interface Capped {
  /** The keys that stay open, in the order in which they were opened. */
  readonly open: OpenKeys;
  /** Whether it can be drawn: at the top level alone there may be too much. */
  readonly drawable: boolean;
}

/** Keeps what was opened last, with the groups around it, as far as it can be drawn. */
export function capOpen(tree: GraphTree, open: OpenKeys): Capped {
  const count = (keys: OpenKeys): number => buildRows(tree, keys, true).rows.length;
  if (count(open) <= MOST_ITEMS) return { open, drawable: true };
  const keys = [...open];
  const around = parentKeys(tree);
  let [kept, most] = [0, keys.length];
  while (kept < most) {
    const middle = (kept + most + 1) >> 1;
    if (count(newest(keys, middle, around)) <= MOST_ITEMS) kept = middle;
    else most = middle - 1;
  }
  const shown = newest(keys, kept, around);
  return { open: shown, drawable: count(shown) <= MOST_ITEMS };
}

/** The newest keys, and those around them: a group is not seen while its parent is closed. */
function newest(keys: readonly string[], count: number, around: ReadonlyMap<string, string>): OpenKeys {
  const wanted = new Set<string>();
  for (const key of keys.slice(keys.length - count)) {
    for (let one: string | undefined = key; one !== undefined && !wanted.has(one); one = around.get(groupIn(one))) wanted.add(one);
  }
  return new Set(keys.filter((key) => wanted.has(key)));
}

/** The group that a key is of, or that its unit begins with: "~blocks.3", "~blocks.3+4". */
function groupIn(key: string): string {
  return key.startsWith("~") ? key.slice(1).replace(/\+\d+$/, "").replace(/@\d+$/, "") : key;
}

function parentKeys({ groups }: GraphTree): Map<string, string> {
  const keys = new Map<string, string>();
  for (const { key, parent } of groups) if (parent > 0) keys.set(key, groups[parent]!.key);
  return keys;
}

/** Whether a list without groups can be drawn. */
export function isShort(tree: GraphTree): boolean {
  return tree.order.node.length <= MOST_ITEMS;
}

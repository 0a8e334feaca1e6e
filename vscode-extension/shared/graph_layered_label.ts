/** What stands beside a mark of the layered drawing, cut to the room that the layout gave it. */

import { formatBytes, shortened } from "./format";
import { bornAt } from "./graph_gradients";
import { moduleAt, type GraphTree } from "./graph_groups";
import type { LayoutSize } from "./graph_layered_layout";
import { siteOf } from "./graph_model";
import type { GraphRow } from "./graph_rows";
import type { RowSummary } from "./graph_summary";
import { groupSize, innerOp, innerResult, ofCompiled, parameterNames, rowName } from "./graph_words";
import { compiledText, graphText, layeredText } from "./text";

/** The name, a word of its state, and details that give way to both. */
export interface LayeredLabel {
  readonly name: string;
  readonly word: string;
  /** Whether the word is of a gradient that is not finite. */
  readonly bad: boolean;
  readonly detail: string;
}

/** Widths of a character at 11 px, on the generous side: text may be narrower than its room, never wider. */
const MONO = 6.7;
const PLAIN = 6.1;
const SPACE = 5;
/** Names and details that are longer are cut in the middle. */
const MOST_NAME = 26;
const MOST_DETAIL = 22;
/** " · 96.0 MiB", " · released 1.71 GiB": what is held differs from step to step, and must not move anything. */
const BYTES_ROOM = { op: 11 * PLAIN, group: 20 * PLAIN } as const;

export const TWISTIE_ROOM = 13;

/** Half the width of a mark that stands for several nodes. */
export const GROUP_HALF = { closed: 13, fold: 17, op: 12, open: 0 } as const;

/** Room for a row's mark and label; of an open group, for its title. */
export function labelSize(tree: GraphTree, row: GraphRow, summary: RowSummary, flat: boolean): LayoutSize {
  const name = shownName(tree, row).length * (row.kind === "op" ? MONO : PLAIN + 0.4);
  if (row.kind === "open") return { half: 0, label: name + TWISTIE_ROOM };
  const detail = baseDetail(tree, row, summary, flat);
  const bytes = summary.held + summary.released > 0 ? BYTES_ROOM[row.kind === "op" ? "op" : "group"] : 0;
  const twistie = row.expanded === null ? 0 : TWISTIE_ROOM;
  return { half: GROUP_HALF[row.kind], label: name + (detail ? SPACE + detail.length * PLAIN : 0) + bytes + twistie };
}

/** What fits beside a row now: the name always, then the word, the bytes, and the rest. */
export function labelOf(tree: GraphTree, row: GraphRow, summary: RowSummary, { room, flat }: { readonly room: number; readonly flat: boolean }): LayeredLabel {
  const name = shownName(tree, row);
  const { word, bad } = wordOf(tree, row, summary);
  const left = room - (row.expanded === null ? 0 : TWISTIE_ROOM) - name.length * (row.kind === "op" ? MONO : PLAIN + 0.4);
  const free = Math.floor((left - (word ? SPACE + word.length * (PLAIN + 0.4) : 0) - SPACE) / PLAIN + 0.01);
  const [base, bytes] = [baseDetail(tree, row, summary, flat), bytesOf(summary)];
  const fitting = [[base, bytes].filter(Boolean).join(" · "), base, bytes].find((text) => text.length <= free);
  return { name, word, bad, detail: fitting ?? "" };
}

function shownName(tree: GraphTree, row: GraphRow): string {
  return shortened(rowName(tree, row, true), MOST_NAME);
}

/** "ln1 :88"; of a group, how many nodes. */
function baseDetail(tree: GraphTree, row: GraphRow, summary: RowSummary, flat: boolean): string {
  if (row.kind !== "op") return [ofCompiled(tree, row) ? compiledText.label : "", groupSize(tree, row, summary)].filter(Boolean).join(" · ");
  const node = tree.order.node[row.start]!;
  const module = flat ? (moduleAt(tree, row.start)?.path ?? "") : (tree.single.get(row.start)?.name ?? "");
  const beside = module || (tree.model.isLeaf[node] ? "" : parameterNames(tree, row.start));
  const site = siteOf(tree.model, node);
  const inner = innerOp(tree, row);
  if (inner) {
    const kept = inner.saved ? [compiledText.saved, Number.isNaN(inner.bytes) ? "" : formatBytes(inner.bytes)].join(" ").trim() : "";
    const again = inner.recomputedAs.length > 0 ? compiledText.recomputed : "";
    const own = inner.target === "input" ? shortened(inner.name, MOST_DETAIL) : shortened(module, MOST_DETAIL);
    return [[own, innerResult(inner), site ? `:${site.line}` : ""].filter(Boolean).join(" "), kept, again].filter(Boolean).join(" · ");
  }
  const label = tree.model.labels.get(node)?.label ?? "";
  return [label, shortened(beside, MOST_DETAIL), site ? `:${site.line}` : ""].filter(Boolean).join(" ");
}

function bytesOf({ held, released }: RowSummary): string {
  if (held > 0) return formatBytes(held);
  return released > 0 ? layeredText.released(formatBytes(released)) : "";
}

function wordOf(tree: GraphTree, row: GraphRow, { trouble, state }: RowSummary): { word: string; bad: boolean } {
  if (trouble === "NaN" || trouble === "Inf") {
    const born = row.kind === "op" && bornAt(tree.model.gradients, tree.order.node[row.start]!);
    return { word: born ? graphText.born(trouble) : trouble, bad: true };
  }
  return { word: state === "running" ? graphText.states.running : "", bad: false };
}

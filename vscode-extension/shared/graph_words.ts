/** What a row says: its name and detail, and one sentence with the state in it for those who do not see the lanes. */

import { formatBytes, formatCount, fullPrecision, plainNumber, shortened } from "./format";
import { moduleAt, type GraphTree } from "./graph_groups";
import { leafName, shortName, siteOf } from "./graph_model";
import { leavesAt } from "./graph_order";
import type { GraphRow } from "./graph_rows";
import type { RowSummary, ShownNorm } from "./graph_summary";
import { graphText } from "./text";

/** The name in the row; without room, less the suffix that most names share. */
export function rowName(tree: GraphTree, row: GraphRow, narrow: boolean): string {
  if (row.kind !== "op") return groupName(tree, row);
  const node = tree.order.node[row.start]!;
  if (tree.model.isLeaf[node]) return leafName(tree.model, node) || row.name;
  return narrow ? shortName(row.name) : row.name;
}

function groupName(tree: GraphTree, row: GraphRow): string {
  return row.kind !== "fold" && tree.groups[row.group]!.kind === "backward" ? graphText.madeInBackward : row.name;
}

/**
 * Beside an operation: its module, else its parameters, else its line of source. Beside a group: how many nodes.
 * In the flat list no group says where an operation stands, so its module's whole path does.
 */
export function rowDetail(tree: GraphTree, row: GraphRow, summary: RowSummary, flat = false): string {
  if (row.kind !== "op") return graphText.nodes(formatCount(summary.nodes), summary.nodes);
  if (tree.model.isLeaf[tree.order.node[row.start]!]) return row.name;
  const module = flat ? shortened(moduleAt(tree, row.start)?.path ?? "", FLAT_PATH) : "";
  return module || nameBeside(tree, row.start) || sourceText(tree, tree.order.node[row.start]!);
}

/** What is drawn of the detail: a line of source once, at its module's head or at the first row that it made. */
export function shownDetail(tree: GraphTree, row: GraphRow, summary: RowSummary, flat = false): string {
  const detail = rowDetail(tree, row, summary, flat);
  if (row.kind === "open") return [detail, groupLine(tree, row.group)?.text].filter(Boolean).join(" · ");
  if (row.kind !== "op" || nameBeside(tree, row.start) || tree.model.isLeaf[tree.order.node[row.start]!]) return detail;
  return !flat && repeatsLine(tree, row.start) ? "" : detail;
}

function nameBeside(tree: GraphTree, position: number): string {
  return tree.single.get(position)?.name || parameterNames(tree, position);
}

/** The line that all of a module's own operations are of: where it was called, when lines inside it are not known. */
function groupLine(tree: GraphTree, group: number): { readonly site: number; readonly text: string } | null {
  const { kind, children } = tree.groups[group]!;
  const own = children.filter((child) => child >= 0 && !nameBeside(tree, child)).map((position) => tree.order.node[position]!);
  const site = tree.model.site[own[0] ?? -1] ?? -1;
  if (kind !== "module" || own.length < 2 || site < 0 || own.some((node) => tree.model.site[node] !== site)) return null;
  return { site, text: sourceText(tree, own[0]!) };
}

/** Whether the rows above, as far as they are of one line in one group, have shown it. */
function repeatsLine(tree: GraphTree, position: number): boolean {
  const { model, order, groupOf } = tree;
  const lineOf = (at: number): number => model.site[order.node[at]!] ?? -1;
  if (groupLine(tree, groupOf[position]!)?.site === lineOf(position)) return true;
  for (let at = position - 1; at >= 0 && groupOf[at] === groupOf[position] && lineOf(at) === lineOf(position); at--) {
    if (!nameBeside(tree, at)) return true;
  }
  return false;
}

/** What fits beside an operation's name in the panel's usual width: both ends of a path tell more than its middle. */
const FLAT_PATH = 22;

/** "blocks.7.attn"; a path that says nothing without its root, and the root itself, with it. */
export function moduleName({ root, path }: { readonly root: string; readonly path: string }): string {
  return path === "" ? root : /^\d/.test(path) ? `${root}.${path}` : path;
}

/** "weight, bias": parameters that the operation at a position uses. */
export function parameterNames({ model, order }: GraphTree, position: number): string {
  const names = leavesAt(model, order, position).map((leaf) => leafName(model, leaf));
  return [...new Set(names.filter(Boolean).map((name) => name.slice(name.lastIndexOf(".") + 1)))].join(", ");
}

function sourceText({ model }: GraphTree, node: number): string {
  const site = siteOf(model, node);
  return site ? (model.siteTexts.get(site.id) ?? "") : "";
}

/** "SoftmaxBackward0, attn, running, 96.0 MiB saved, gradient 3.11e−4". */
export function rowSentence(tree: GraphTree, row: GraphRow, summary: RowSummary): string {
  const times = row.kind === "fold" ? graphText.times(row.count) : "";
  const node = row.kind === "op" ? tree.order.node[row.start]! : -1;
  const unseen = tree.model.labels.get(node)?.label ?? (summary.unseen > 0 ? graphText.unseen(summary.unseen) : "");
  const parts = [
    rowName(tree, row, false),
    times,
    rowDetail(tree, row, summary),
    stateWord(summary),
    summary.trouble ?? "",
    unseen,
    summary.held > 0 ? graphText.saved(formatBytes(summary.held)) : "",
    summary.released > 0 ? graphText.released(formatBytes(summary.released)) : "",
    summary.norm ? normSentence(summary.norm) : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** "running", "3 of 30 fired"; "" where no backward runs. */
export function stateWord({ state, fired, nodes }: RowSummary): string {
  if (state === "idle") return "";
  return state === "partly" ? graphText.partlyFired(formatCount(fired), formatCount(nodes)) : graphText.states[state];
}

/** "gradient 3.11e−4", and whose and when where it is not that of the node in this backward. */
export function normSentence({ norm, nonFinite, from }: ShownNorm): string {
  return `${graphText.normFrom[from]} ${nonFinite ?? plainNumber(norm)}`;
}

/** A row as it is copied, its numbers in full: name, module, place, bytes held and released, gradient norm. */
export function rowCopy(tree: GraphTree, row: GraphRow, summary: RowSummary): string {
  const node = row.kind === "op" ? tree.order.node[row.start]! : -1;
  const module = row.kind === "op" ? moduleAt(tree, row.start) : null;
  const site = node >= 0 ? siteOf(tree.model, node) : undefined;
  const norm = summary.norm ? (summary.norm.nonFinite ?? fullPrecision(summary.norm.norm)) : "";
  const place = site ? `${site.file}:${site.line}` : "";
  return [rowName(tree, row, false), module ? moduleName(module) : "", place, summary.held, summary.released, norm].join("\t");
}

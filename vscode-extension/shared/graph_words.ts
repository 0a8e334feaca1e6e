/** What a row says: its name and detail, and one sentence with the state in it for those who do not see the lanes. */

import { formatBytes, formatCount, formatShape, fullPrecision, plainNumber, shortDtype, shortened } from "./format";
import { moduleAt, type GraphTree } from "./graph_groups";
import { leafName, shortName, siteOf } from "./graph_model";
import { leavesAt } from "./graph_order";
import type { GraphRow } from "./graph_rows";
import type { RowSummary, ShownNorm } from "./graph_summary";
import { compiledOp, type CompiledOp } from "./graph_compiled";
import { announceText, compiledText, graphText } from "./text";

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
  if (row.kind !== "op") return groupSize(tree, row, summary);
  const inner = innerOp(tree, row);
  if (inner) return innerDetail(tree, row, inner);
  if (tree.model.isLeaf[tree.order.node[row.start]!]) return row.name;
  const module = flat ? shortened(moduleAt(tree, row.start)?.path ?? "", FLAT_PATH) : "";
  return module || nameBeside(tree, row.start) || sourceText(tree, tree.order.node[row.start]!);
}

/** How many nodes; of a compiled node, and what is in it, how many ops. */
export function groupSize(tree: GraphTree, row: GraphRow, { nodes }: RowSummary): string {
  if (compiledGroup(tree, row)) return compiledText.ops(row.end - row.start - 1);
  return nodes > 0 ? graphText.nodes(formatCount(nodes), nodes) : compiledText.ops(row.end - row.start);
}

/** Whether a row is a compiled node with what it opens into. */
export function compiledGroup(tree: GraphTree, row: GraphRow): boolean {
  return (row.kind === "closed" || row.kind === "open") && tree.groups[row.group]!.kind === "compiled";
}

/** Whether a row is of compiled nodes that open: one, or several folded. */
export function ofCompiled(tree: GraphTree, row: GraphRow): boolean {
  if (row.kind !== "fold") return compiledGroup(tree, row);
  let group = tree.groups[tree.groupOf[row.start]!]!;
  while (group.parent >= 0 && group.parent !== row.group) group = tree.groups[group.parent]!;
  return group.kind === "compiled" && group.start === row.start;
}

/** The op of a compiled region that a row is; null for all others. */
export function innerOp({ model, order }: GraphTree, row: GraphRow): CompiledOp | null {
  return row.kind === "op" ? compiledOp(model.inside, order.node[row.start]!) : null;
}

/** "8×2 f32": shape and dtype of its result, "" where it is no single tensor. */
export function innerResult({ shape, dtype }: CompiledOp): string {
  return shape === null ? "" : `${formatShape(shape)} ${shortDtype(dtype)}`.trim();
}

/** "8×2 f32 fc": an input goes by its name. */
function innerDetail(tree: GraphTree, row: GraphRow, op: CompiledOp): string {
  const own = op.target === "input" ? op.name : (tree.single.get(row.start)?.name ?? "");
  return [own, innerResult(op)].filter(Boolean).join(" · ");
}

/** "saved", "recomputed": in words, what the compiler does with a result. */
function innerWords({ saved, bytes, recomputedAs }: CompiledOp): string[] {
  const kept = saved ? [compiledText.savedLong(Number.isNaN(bytes) ? "" : formatBytes(bytes))] : [];
  return recomputedAs.length > 0 ? [...kept, compiledText.recomputedLong] : kept;
}

/** What is drawn of the detail: a line of source once, at its module's head or at the first row that it made. */
export function shownDetail(tree: GraphTree, row: GraphRow, summary: RowSummary, flat = false): string {
  const detail = rowDetail(tree, row, summary, flat);
  if (row.kind === "open") return [detail, groupLine(tree, row.group)?.text].filter(Boolean).join(" · ");
  const inner = innerOp(tree, row);
  if (inner) return [detail, !flat && repeatsLine(tree, row.start) ? "" : sourceText(tree, tree.order.node[row.start]!)].filter(Boolean).join(" · ");
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
  const group = ofCompiled(tree, row) ? compiledText.label : "";
  const unseen = tree.model.labels.get(node)?.label ?? (group || (summary.unseen > 0 ? graphText.unseen(summary.unseen) : ""));
  const inner = innerOp(tree, row);
  const parts = [
    rowName(tree, row, false),
    times,
    rowDetail(tree, row, summary),
    stateWord(summary),
    summary.trouble ?? "",
    unseen,
    ...(inner ? innerWords(inner) : []),
    ...(inner ? [placeWords(tree, node)] : []),
    summary.held > 0 ? graphText.saved(formatBytes(summary.held)) : "",
    summary.released > 0 ? graphText.released(formatBytes(summary.released)) : "",
    summary.norm ? normSentence(summary.norm) : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** "scaled.py line 10". */
function placeWords({ model }: GraphTree, node: number): string {
  const site = siteOf(model, node);
  return site ? announceText.at(site.file, site.line) : "";
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

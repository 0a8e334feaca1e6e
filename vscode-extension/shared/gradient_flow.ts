/** The gradient-flow chart: one point for each module in order of depth, on fixed decades. */

import type { GradientRow } from "./gradient_rows";
import type { GradientState } from "./gradient_state";
import { summaryOf, type GradientSummary } from "./gradient_summary";
import { parametersBelow, type GradientNode, type Member, type ModuleNode } from "./gradient_tree";

/** Points that stay apart in a narrow panel: the tree is cut at the deepest level that has no more. */
const COMFORTABLE = 24;
/** Above this neighbours are drawn as one point. */
const MOST = 48;

export interface FlowPoint {
  readonly key: string;
  /** For the axis: "7", "emb", "0–3". */
  readonly label: string;
  readonly fullName: string;
  /** What a click selects: the first, where neighbours are one point. */
  readonly nodes: readonly Member[];
  readonly summary: GradientSummary;
  /** null where there is nothing finite to draw: the rails then tell why. */
  readonly norm: number | null;
  /** Norms of its parameters, finite and above 0. */
  readonly ticks: readonly number[];
  /** Norm at the previous stop, where every gradient has one. */
  readonly previous: number | null;
  /** What no decade can show, above and below the plot. */
  readonly rail: { readonly above: "NaN" | "Inf" | "on path" | null; readonly none: "None" | "zero" | null };
}

export interface Flow {
  readonly points: readonly FlowPoint[];
  /** Exponents of ten at the lower and upper edge. */
  readonly decades: { readonly lowest: number; readonly highest: number };
  /** Points before this one wait for the running backward; -1 where none waits, or they are not a beginning. */
  readonly reached: number;
}

export function gradientFlow(tree: readonly GradientNode[]): Flow {
  const models = tree.filter((node): node is ModuleNode => node.kind === "root");
  // A program without modules: its leaf tensors, in the frame's order.
  const cut = neighbours(models.length > 0 ? cutOf(models) : tree.flatMap(parametersBelow));
  const labels = labelsOf(cut);
  const points = cut.map((nodes, at) => pointOf(nodes, labels[at]!));
  return { points, decades: decadesOf(points), reached: reachedOf(points) };
}

/** Deeper while it stays comfortable; a model's own level is the least. Repeated blocks stay whole: depth is counted in them. */
function cutOf(models: readonly ModuleNode[]): readonly Member[] {
  let cut: readonly Member[] = models.flatMap((model) => model.children);
  for (;;) {
    const whole = repeatedBlocks(cut);
    const deeper = cut.flatMap((node): readonly Member[] => (node.kind === "parameter" || isLayer(node) || whole.has(node) ? [node] : node.children));
    if (deeper.length > COMFORTABLE || deeper.length === cut.length) return cut;
    cut = deeper;
  }
}

/** Blocks from this many on are one's depth; of two the parts say more. */
const REPEATED = 3;

/** The numbered modules of every list in which enough have parameters of the same names. */
function repeatedBlocks(cut: readonly Member[]): ReadonlySet<Member> {
  const found = new Set<Member>();
  for (const run of runsOf(cut)) {
    const alike = new Map<string, number>();
    for (const node of run) if (isBlock(node)) alike.set(structureOf(node), (alike.get(structureOf(node)) ?? 0) + 1);
    if (Math.max(0, ...alike.values()) >= REPEATED) run.forEach((node) => found.add(node));
  }
  return found;
}

function structureOf(node: Member): string {
  return parametersBelow(node).map((one) => one.fullName.slice(node.fullName.length)).join();
}

/** A module of parameters alone: weight and bias are its ticks. */
function isLayer(node: ModuleNode): boolean {
  return node.children.every((child) => child.kind === "parameter");
}

/** Numbered blocks that follow one another are put together, as few as it takes; where that does not do, whatever follows. */
function neighbours(cut: readonly Member[]): Member[][] {
  const runs = runsOf(cut);
  const longest = Math.max(0, ...runs.map((run) => run.length));
  for (let width = 1; width <= longest; width++) {
    const points = runs.flatMap((run) => slices(run, width));
    if (points.length <= MOST) return points;
  }
  return slices(cut, Math.ceil(cut.length / MOST));
}

function runsOf(cut: readonly Member[]): Member[][] {
  const runs: Member[][] = [];
  for (const node of cut) {
    const run = runs.at(-1);
    if (run !== undefined && isBlock(node) && isBlock(run[0]!) && listOf(run[0]!) === listOf(node)) run.push(node);
    else runs.push([node]);
  }
  return runs;
}

function isBlock(node: Member): boolean {
  return node.kind === "module" && /^\d+$/.test(shortName(node));
}

function listOf({ fullName }: Member): string {
  return fullName.slice(0, fullName.lastIndexOf("."));
}

function slices(run: readonly Member[], width: number): Member[][] {
  return Array.from({ length: Math.ceil(run.length / width) }, (_, at) => run.slice(at * width, (at + 1) * width));
}

function pointOf(nodes: readonly Member[], label: string): FlowPoint {
  const rows = nodes.flatMap(parametersBelow).map((one) => one.row);
  const summary = summaryOf(nodes.map((node) => node.summary));
  const norm = summary.statistics?.norm ?? Number.NaN;
  return {
    key: nodes[0]!.key,
    label,
    fullName: nodes.length === 1 ? nodes[0]!.fullName : `${nodes[0]!.fullName}–${shortName(nodes.at(-1)!)}`,
    nodes,
    summary,
    norm: norm > 0 ? norm : null,
    ticks: rows.map((row) => row.statistics?.norm ?? 0).filter((one) => one > 0),
    previous: previousOf(rows),
    rail: { above: firstOf(rows, ["NaN", "Inf", "on path"]), none: firstOf(rows, ["None", "zero"]) },
  };
}

function firstOf<S extends GradientState>(rows: readonly GradientRow[], states: readonly S[]): S | null {
  return states.find((state) => rows.some((row) => row.state === state)) ?? null;
}

/** The module's own norm at that stop: what had no `.grad` then took no part in it. */
function previousOf(rows: readonly GradientRow[]): number | null {
  const squares = rows.reduce((sum, row) => (row.previousNorm >= 0 ? sum + row.previousNorm ** 2 : sum), 0);
  return squares > 0 ? Math.sqrt(squares) : null;
}

/** What tells points apart: where several have one name, the name around it as well: "0.attn", "1.attn". */
function labelsOf(cut: readonly (readonly Member[])[]): string[] {
  const short = cut.map(labelOf);
  const counts = new Map<string, number>();
  for (const label of short) counts.set(label, (counts.get(label) ?? 0) + 1);
  return short.map((label, at) => (counts.get(label)! > 1 ? aroundOf(cut[at]![0]!) + label : label));
}

/** The part of a full name before the one that is the label, with its dot; "" at the model's own level. */
function aroundOf(node: Member): string {
  const parts = node.fullName.split(".");
  const around = parts.at(node.kind === "parameter" ? -3 : -2);
  return around === undefined || parts.length < 3 ? "" : `${around}.`;
}

/** A block's number, "emb", "0–3". */
function labelOf(nodes: readonly Member[]): string {
  const first = shortName(nodes[0]!);
  return nodes.length === 1 ? first : `${first}–${shortName(nodes.at(-1)!)}`;
}

/** A block's number, else the last part of its name that is not "weight". */
function shortName(node: Member): string {
  const parts = node.name.split(".");
  return parts.at(node.kind === "parameter" && parts.length > 1 ? -2 : -1)!;
}

/** The usual window; it opens to what lies outside, never shrinks to what is there. */
function decadesOf(points: readonly FlowPoint[]): Flow["decades"] {
  let [lowest, highest] = [-9, 1];
  for (const { norm, ticks, previous } of points) {
    for (const value of [norm, previous, ...ticks]) {
      if (value === null) continue;
      lowest = Math.min(lowest, Math.floor(Math.log10(value)));
      highest = Math.max(highest, Math.ceil(Math.log10(value)));
    }
  }
  return { lowest: Math.max(lowest, -12), highest: Math.min(highest, 12) };
}

function reachedOf(points: readonly FlowPoint[]): number {
  const first = points.findIndex((point) => !point.summary.pending);
  const reached = first < 0 ? points.length : first;
  return reached > 0 && points.slice(reached).every((point) => !point.summary.pending) ? reached : -1;
}

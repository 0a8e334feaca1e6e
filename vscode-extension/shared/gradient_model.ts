/** All that the gradients view draws of one snapshot, and the way between a selection and a row. */

import { numbers } from "./answer";
import { earlierOf, stopName } from "./gradient_changes";
import { gradientFlow, type Flow, type FlowPoint } from "./gradient_flow";
import { gradientRows, type GradientRow } from "./gradient_rows";
import { gradientTree, moduleKey, parametersBelow, variableKey, type GradientNode } from "./gradient_tree";
import { NOTHING, type Selection } from "./selection";
import type { Snapshot } from "./session";

export interface GradientModel {
  readonly snapshot: Snapshot;
  readonly previous: Snapshot | null;
  readonly rows: readonly GradientRow[];
  readonly tree: readonly GradientNode[];
  readonly flow: Flow;
  readonly byKey: ReadonlyMap<string, GradientNode>;
  readonly keyOfParameter: ReadonlyMap<number, string>;
  /** "stop 3": the previous stop that values from before are of; null on the first. */
  readonly earlier: string | null;
  /** Any norm has an earlier one: the column "change" has something to say. */
  readonly hasChanges: boolean;
  /** What the norms are without; 1 where no loss scale is known. */
  readonly scale: number;
  /** Norms that can stand beside the norm. */
  readonly beside: readonly Beside[];
}

/** "scaled": as accumulated, with the loss scale; "local": before it was reduced over the ranks. */
export type Beside = "scaled" | "local";

const BUILT = new WeakMap<Snapshot, GradientModel>();

/** Built once for a pair of stops: header, tabs and view share it. */
export function gradientModel(snapshot: Snapshot, previous: Snapshot | null): GradientModel {
  const known = BUILT.get(snapshot);
  if (known?.previous === previous) return known;
  const built = build(snapshot, previous);
  BUILT.set(snapshot, built);
  return built;
}

function build(snapshot: Snapshot, previous: Snapshot | null): GradientModel {
  const rows = gradientRows(snapshot, earlierOf(previous));
  const tree = gradientTree(snapshot, rows);
  const byKey = new Map<string, GradientNode>();
  const keyOfParameter = new Map<number, string>();
  const visit = (node: GradientNode): void => {
    byKey.set(node.key, node);
    if (node.kind === "parameter") keyOfParameter.set(node.row.parameter.id, node.key);
    node.children.forEach(visit);
  };
  tree.forEach(visit);
  return {
    snapshot,
    previous,
    rows,
    tree,
    flow: gradientFlow(tree),
    byKey,
    keyOfParameter,
    earlier: previous === null ? null : stopName(previous),
    hasChanges: rows.some((row) => row.previousNorm >= 0),
    scale: rows[0]?.scale ?? 1,
    beside: besideOf(rows),
  };
}

function besideOf(rows: readonly GradientRow[]): Beside[] {
  const [scaled, local] = [(rows[0]?.scale ?? 1) !== 1, rows.some((row) => row.local !== null)];
  return [...(scaled ? (["scaled"] as const) : []), ...(local ? (["local"] as const) : [])];
}

/** What choosing a row selects everywhere. */
export function selectionOf(node: GradientNode): Selection {
  switch (node.kind) {
    case "parameter":
      return { kind: "parameter", id: node.row.parameter.id };
    case "variable":
      return { kind: "variable", index: node.index };
    case "root":
    case "module":
      return { kind: "module", root: node.root, path: node.path };
    default:
      return NOTHING;
  }
}

/** The row of what is selected in any view; null where it has none. */
export function keyOf(model: GradientModel, selection: Selection): string | null {
  switch (selection.kind) {
    case "parameter":
      return model.keyOfParameter.get(selection.id) ?? null;
    case "variable":
      return keyOfVariable(model, selection.index);
    case "module":
      return keyOfModule(model, selection.root, selection.path);
    case "node":
      return keyOfNode(model, selection.index);
    default:
      return null;
  }
}

function keyOfVariable(model: GradientModel, index: number): string | null {
  const variable = model.snapshot.variables?.[index];
  if (variable === undefined) return null;
  if ((variable.parameter ?? -1) >= 0) return model.keyOfParameter.get(variable.parameter!) ?? null;
  const own = variableKey(variable.expression);
  const root = moduleKey(variable.expression, "");
  return model.byKey.has(own) ? own : model.byKey.has(root) ? root : null;
}

/** A module that was folded into its only entry is that entry; one without parameters is the module around it. */
function keyOfModule(model: GradientModel, root: string, path: string): string | null {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf(".")))) {
    const key = moduleKey(root, at);
    if (model.byKey.has(key)) return key;
    const inside = model.rows.find(({ parameter }) => parameter.root === root && parameter.path.startsWith(`${at}.`));
    if (inside !== undefined && at !== "") return model.keyOfParameter.get(inside.parameter.id) ?? null;
    if (at === "") return null;
  }
}

/** A leaf's node is its parameter, any other the module it ran in. */
function keyOfNode(model: GradientModel, index: number): string | null {
  const { graph, modules = [] } = model.snapshot;
  if (graph === null || graph === undefined) return null;
  const leaf = model.keyOfParameter.get(numbers(graph.parameter)[index] ?? -1);
  if (leaf !== undefined) return leaf;
  const id = numbers(graph.module)[index] ?? -1;
  const module = modules.find((one) => one.id === id);
  return module === undefined ? null : keyOfModule(model, module.root, module.path);
}

/** The point of the flow chart that a row belongs to; -1 none. */
export function pointOf(flow: Flow, node: GradientNode | undefined): number {
  if (node === undefined) return -1;
  const exact = flow.points.findIndex((point) => point.nodes.some((one) => one.key === node.key));
  if (exact >= 0 || node.kind !== "parameter") return exact >= 0 ? exact : pointAround(flow.points, node);
  return flow.points.findIndex((point) => point.nodes.some((one) => parametersBelow(one).includes(node)));
}

function pointAround(points: readonly FlowPoint[], node: GradientNode): number {
  if (node.kind !== "module") return -1;
  return points.findIndex((point) => point.nodes.some((one) => one.kind === "module" && one.root === node.root && node.path.startsWith(`${one.path}.`)));
}

/** Where backward stands in the chart; -1 outside backward or where it is not known. */
export function runningPoint(model: GradientModel): number {
  const { in_backward = false, running = -1 } = model.snapshot.stop;
  if (!in_backward || running < 0) return -1;
  const key = keyOfNode(model, running);
  return key === null ? -1 : pointOf(model.flow, model.byKey.get(key));
}

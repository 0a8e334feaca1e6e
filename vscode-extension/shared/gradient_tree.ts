/** The tree of the gradients view: variable, modules by path, parameters; then other variables and optimizers. */

import type { GradientRow } from "./gradient_rows";
import { summaryOf, type GradientSummary } from "./gradient_summary";
import type { Snapshot, Variable } from "./session";

interface NodeBase {
  /** The same at every stop. */
  readonly key: string;
  /** As shown: below its parent, "attn.qkv"; a fold of several levels joins their names. */
  readonly name: string;
  readonly fullName: string;
  readonly children: readonly GradientNode[];
  readonly summary: GradientSummary | null;
}

export interface ModuleNode extends NodeBase {
  readonly kind: "root" | "module";
  readonly root: string;
  readonly path: string;
  readonly className: string;
  readonly children: readonly Member[];
  readonly summary: GradientSummary;
}

export interface ParameterNode extends NodeBase {
  readonly kind: "parameter";
  readonly row: GradientRow;
  readonly summary: GradientSummary;
}

/** A variable whose gradient autograd does not keep: a tensor with grad_fn, an input, an optimizer. */
export interface VariableNode extends NodeBase {
  readonly kind: "variable";
  readonly variable: Variable;
  readonly index: number;
}

export interface GroupNode extends NodeBase {
  readonly kind: "variables" | "modules" | "optimizers";
}

/** What a model is made of. */
export type Member = ModuleNode | ParameterNode;

export type GradientNode = Member | VariableNode | GroupNode;

/** A module before folding, in the order of its first parameter. */
interface Draft {
  readonly root: string;
  readonly path: string;
  readonly name: string;
  readonly className: string;
  readonly entries: (Draft | GradientRow)[];
  readonly modules: Map<string, Draft>;
}

/** Classes that only hold others: their members stand in their place, so that depth is what runs. */
const HOLDERS: ReadonlySet<string> = new Set(["ModuleList", "ModuleDict"]);

export function gradientTree(snapshot: Snapshot, rows: readonly GradientRow[]): GradientNode[] {
  const classes = new Map((snapshot.modules ?? []).map((one) => [moduleKey(one.root, one.path), one.class_name]));
  const roots = drafts(rows, classes);
  const models = Array.from(roots.values(), (one) => moduleNode(one, one.name, "root"));
  return [...models, ...variableGroups(snapshot, rows, roots)];
}

/** Also the key of the module's node. */
export function moduleKey(root: string, path: string): string {
  return nodeKey(`module/${root}/${path}`);
}

/** The key of a variable's node. */
export function variableKey(expression: string): string {
  return nodeKey(`variable/${expression}`);
}

/** Keys become ids in the document, which hold no white space: an expression may. */
function nodeKey(key: string): string {
  return /\s/.test(key) ? key.replace(/\s/g, "_") : key;
}

type Classes = ReadonlyMap<string, string>;

function drafts(rows: readonly GradientRow[], classes: Classes): Map<string, Draft> {
  const roots = new Map<string, Draft>();
  for (const row of rows) {
    const { root, path, is_leaf_tensor = false } = row.parameter;
    if (is_leaf_tensor) continue;
    if (!roots.has(root)) roots.set(root, draft(root, "", root, classes));
    const parts = path.split(".");
    let at = roots.get(root)!;
    for (let depth = 0; depth < parts.length - 1; depth++) at = below(at, parts[depth]!, classes);
    at.entries.push(row);
  }
  return roots;
}

function draft(root: string, path: string, name: string, classes: Classes): Draft {
  return { root, path, name, className: classes.get(moduleKey(root, path)) ?? "", entries: [], modules: new Map() };
}

function below(parent: Draft, name: string, classes: Classes): Draft {
  const known = parent.modules.get(name);
  if (known !== undefined) return known;
  const made = draft(parent.root, parent.path === "" ? name : `${parent.path}.${name}`, name, classes);
  parent.modules.set(name, made);
  parent.entries.push(made);
  return made;
}

function isDraft(entry: Draft | GradientRow): entry is Draft {
  return "entries" in entry;
}

function moduleNode(from: Draft, name: string, kind: "root" | "module"): ModuleNode {
  const { root, path, className } = from;
  const children: Member[] = [];
  for (const entry of from.entries) addEntry(entry, "", children);
  const fullName = path === "" ? root : `${root}.${path}`;
  const summary = summaryOf(children.map((child) => child.summary));
  return { kind, key: moduleKey(root, path), name, fullName, root, path, className, children, summary };
}

/** The parameters of a node in the model's order: of a group, its leaf tensors. */
export function parametersBelow(node: GradientNode): ParameterNode[] {
  const found: ParameterNode[] = [];
  collect(node, found);
  return found;
}

function collect(node: GradientNode, found: ParameterNode[]): void {
  if (node.kind === "parameter") found.push(node);
  else for (const child of node.children) collect(child, found);
}

/** A holder gives its members; a module with one entry is folded into it. */
function addEntry(entry: Draft | GradientRow, prefix: string, found: Member[]): void {
  if (!isDraft(entry)) return void found.push(parameterNode(entry, prefix));
  const name = prefix + entry.name;
  const holds = HOLDERS.has(entry.className) && entry.entries.every(isDraft);
  if (!holds && entry.entries.length > 1) return void found.push(moduleNode(entry, name, "module"));
  for (const one of entry.entries) addEntry(one, `${name}.`, found);
}

const NO_CHILDREN: readonly GradientNode[] = [];

function parameterNode(row: GradientRow, prefix: string): ParameterNode {
  const { root, path, is_leaf_tensor = false } = row.parameter;
  const name = is_leaf_tensor || path === "" ? row.name : prefix + path.slice(path.lastIndexOf(".") + 1);
  const key = is_leaf_tensor ? variableKey(row.name) : nodeKey(`parameter/${root}/${path}`);
  return { kind: "parameter", key, name, fullName: row.name, children: NO_CHILDREN, summary: row, row };
}

function variableGroups(snapshot: Snapshot, rows: readonly GradientRow[], roots: Map<string, Draft>): GroupNode[] {
  const leaves = rows.filter((row) => row.parameter.is_leaf_tensor).map((row) => parameterNode(row, ""));
  const all = (snapshot.variables ?? []).map((variable, index) => variableNode(variable, index));
  const tensors = all.filter(({ variable }) => variable.kind === "tensor" && (variable.parameter ?? -1) < 0);
  const withGradient = tensors.filter(({ variable }) => (variable.grad_fn ?? null) !== null);
  const without = tensors.filter(({ variable }) => (variable.grad_fn ?? null) === null);
  const modules = all.filter(({ variable }) => variable.kind === "module" && !roots.has(variable.expression));
  const optimizers = all.filter(({ variable }) => variable.kind === "optimizer");
  return [
    group("variables", [...leaves, ...withGradient, ...without], leaves.map((leaf) => leaf.row)),
    group("modules", modules, []),
    group("optimizers", optimizers, []),
  ].filter((one) => one.children.length > 0);
}

function variableNode(variable: Variable, index: number): VariableNode {
  const name = variable.expression;
  return { kind: "variable", key: variableKey(name), name, fullName: name, children: NO_CHILDREN, summary: null, variable, index };
}

function group(kind: GroupNode["kind"], children: readonly GradientNode[], rows: readonly GradientRow[]): GroupNode {
  return { kind, key: `group/${kind}`, name: kind, fullName: kind, children, summary: rows.length > 0 ? summaryOf(rows) : null };
}

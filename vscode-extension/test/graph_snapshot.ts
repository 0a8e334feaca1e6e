/** Snapshots with a graph, for the tests of the graph view: written as the forward pass that would make them. */

import type { Column, GradientStates, Gradients, NodeLabel, Snapshot, Variable } from "../shared/session";
import { NODE_STATES, TENSOR_CLASSES } from "../shared/session";

/** What a forward operation is made of. `module` is undefined where the attribution does not know it. */
export interface TapeOp {
  readonly module?: string | undefined;
  readonly parameters?: readonly string[];
  readonly line?: number;
  readonly text?: string;
  readonly saved?: readonly number[];
  readonly inBackward?: boolean;
  readonly label?: NodeLabel["label"];
}

interface TapeNode extends TapeOp {
  readonly name: string;
  readonly inputs: readonly number[];
}

/** A forward pass: operations in their order, each given those whose outputs it uses. */
export class Tape {
  readonly nodes: TapeNode[] = [];

  op(name: string, inputs: readonly number[] = [], rest: TapeOp = {}): number {
    this.nodes.push({ name, inputs, ...rest });
    return this.nodes.length - 1;
  }
}

export interface GraphTest {
  /** Nodes that have fired: all from this operation of the tape on; it is the one that runs. */
  readonly running?: number;
  /** Norms of the gradients that reached operations of the tape. */
  readonly norms?: ReadonlyMap<number, number>;
  readonly nan?: readonly number[];
  /** What operations that have just run computed: their norms, and how many values are NaN. */
  readonly computed?: ReadonlyMap<number, { readonly norm: number; readonly nan: number }>;
  /** Shapes of the outputs of operations. */
  readonly outputs?: ReadonlyMap<number, readonly number[]>;
  readonly parameterNorms?: ReadonlyMap<string, number>;
  readonly pendingParameters?: readonly string[];
  readonly recorded?: boolean;
  readonly roots?: readonly string[];
  readonly variables?: readonly Variable[];
}

/** Little-endian columns as the contract has them. */
export function column(dtype: "<i4" | "<u4" | "<u8" | "|u1" | "<f4", values: readonly number[]): Column {
  const array =
    dtype === "<i4" ? Int32Array.from(values)
    : dtype === "<u4" ? Uint32Array.from(values)
    : dtype === "<u8" ? BigUint64Array.from(values, BigInt)
    : dtype === "<f4" ? Float32Array.from(values)
    : Uint8Array.from(values);
  return { dtype, data: new Uint8Array(array.buffer) };
}

/** The node that an operation of the tape is in the snapshot: leaves come first. */
export function nodeOf(snapshot: Snapshot, op: number): number {
  return (snapshot.parameters ?? []).length + op;
}

/** The snapshot of a tape. */
export function snapshotOf(tape: Tape, test: GraphTest = {}): Snapshot {
  const paths = [...new Set(tape.nodes.flatMap((node) => node.parameters ?? []))];
  const modules = [...new Set(tape.nodes.flatMap((node) => (node.module === undefined ? [] : [node.module])))];
  const lines = [...new Map(tape.nodes.flatMap((node) => (node.line ? [[node.line, node.text ?? ""] as const] : [])))];
  const leaves = paths.length;
  const count = leaves + tape.nodes.length;
  const names = ["AccumulateGrad", ...new Set(tape.nodes.map((node) => node.name))];
  const edges = tape.nodes.flatMap((node, op) => {
    const targets = [...node.inputs.map((input) => leaves + input), ...(node.parameters ?? []).map((path) => paths.indexOf(path))];
    return targets.map((target, slot) => ({ source: leaves + op, slot, target }));
  });
  const ofOps = (of: (node: TapeNode) => number): Column => column("<i4", [...paths.map(() => -1), ...tape.nodes.map(of)]);
  const lineIds = ofOps((node) => lines.findIndex(([line]) => line === node.line));
  const inBackward = test.running !== undefined;
  return {
    state: "ready",
    run: RUN,
    stop: {
      number: 1,
      time_ns: 0,
      step: 4,
      thread: 1,
      thread_name: "MainThread",
      file: "/home/someone/train.py",
      line: 41,
      function: "train_step",
      in_backward: inBackward,
      graph: inBackward ? 0 : -1,
      running: inBackward ? leaves + test.running! : -1,
      node_states: inBackward ? statesOf(paths.length, tape, test.running!) : null,
      fired_source: inBackward ? "order" : null,
    },
    variables: test.variables ?? [LOSS],
    root: inBackward ? -1 : 0,
    modules: modules.map((path, id) => ({ id, ...rooted(path, test.roots), class_name: "Module" })),
    parameters: paths.map((path, id) => ({
      id,
      root: "model",
      path,
      shape: [8, 8],
      dtype: "float32",
      device: "cpu",
      numel: 64,
      bytes: 256,
      requires_grad: true,
    })),
    states: statesOfParameters(paths, test),
    gradients: gradientsOf(paths, test),
    graph: {
      id: 0,
      digest: "5eed",
      names,
      node_count: count,
      name: column("<i4", [...paths.map(() => 0), ...tape.nodes.map((node) => names.indexOf(node.name))]),
      module: ofOps((node) => (node.module === undefined ? -1 : modules.indexOf(node.module))),
      site: lineIds,
      project_site: lineIds,
      parameter: column("<i4", [...paths.map((_, id) => id), ...tape.nodes.map(() => -1)]),
      in_backward: column("|u1", [...paths.map(() => 0), ...tape.nodes.map((node) => (node.inBackward ? 1 : 0))]),
      roots: [count - 1],
      edge_count: edges.length,
      edge_source: column("<u4", edges.map((edge) => edge.source)),
      edge_slot: column("<u4", edges.map((edge) => edge.slot)),
      edge_target: column("<u4", edges.map((edge) => edge.target)),
      edge_input_nr: column("<u4", edges.map(() => 0)),
      labels: tape.nodes.flatMap(({ label }, op) => (label ? [{ node: leaves + op, label, text: `a ${label} region` }] : [])),
    },
    ledger: ledgerOf(leaves, tape, test.outputs ?? new Map()),
    sites: lines.map(([line], id) => ({ id, file: "/home/someone/model.py", line, function: "forward" })),
    site_texts: lines.map(([, text]) => text),
    recording: test.recorded === false ? null : { path: "run.gradwatch", detail: "modules", steps: 4, cost: 0.01 },
  };
}

function rooted(path: string, roots: readonly string[] | undefined): { root: string; path: string } {
  if (!roots) return { root: "model", path };
  const root = roots.find((name) => path.startsWith(name));
  return root === undefined ? { root: roots[0]!, path } : { root, path: path.slice(root.length + 1) };
}

function statesOf(leaves: number, tape: Tape, running: number): Column {
  const state = (name: (typeof NODE_STATES)[number]): number => NODE_STATES.indexOf(name);
  const ofOp = (op: number): number => (op > running ? state("fired") : op === running ? state("running") : state("pending"));
  return column("|u1", [...Array.from({ length: leaves }, () => state("pending")), ...tape.nodes.map((_, op) => ofOp(op))]);
}

function statesOfParameters(paths: readonly string[], test: GraphTest): GradientStates {
  const pending = new Set(test.pendingParameters ?? []);
  const zeros = paths.map(() => 0);
  return {
    stop: 1,
    subjects: column("<u4", paths.map((_, id) => id)),
    state: column("|u1", paths.map((path) => (test.parameterNorms?.has(path) ? 2 : 0))),
    stale: column("<i4", zeros),
    changed: column("|u1", zeros),
    previous_norm: column("<f4", zeros),
    pending: column("|u1", paths.map((path) => (pending.has(path) ? 1 : 0))),
  };
}

function gradientsOf(paths: readonly string[], test: GraphTest): Gradients[] {
  const nodes = [...(test.norms ?? [])].map(([op, norm]) => ({ id: paths.length + op, norm, nan: test.nan?.includes(op) ? 6 : 0 }));
  const parameters = [...(test.parameterNorms ?? [])].map(([path, norm]) => ({ id: paths.indexOf(path), norm, nan: 0 }));
  const computed = [...(test.computed ?? [])].map(([op, row]) => ({ id: paths.length + op, ...row }));
  return [gradientRows("node", nodes), gradientRows("parameter", parameters), gradientRows("node", computed)];
}

function gradientRows(kind: "node" | "parameter", rows: readonly { id: number; norm: number; nan: number }[]) {
  const all = (value: number): Column => column("<u8", rows.map(() => value));
  return {
    step: 4,
    backward: 0,
    subject_kind: kind,
    subjects: column("<u4", rows.map((row) => row.id)),
    columns: {
      count: all(64),
      zeros: all(0),
      nan: column("<u8", rows.map((row) => row.nan)),
      inf: all(0),
      min: column("<f4", rows.map((row) => -row.norm)),
      max: column("<f4", rows.map((row) => row.norm)),
      mean: column("<f4", rows.map(() => 0)),
      l1: column("<f4", rows.map((row) => row.norm)),
      l2: column("<f4", rows.map((row) => row.norm)),
    },
  } as const;
}

/** A saved tensor of each size, in a storage of its own. */
function ledgerOf(leaves: number, tape: Tape, outputs: ReadonlyMap<number, readonly number[]>): NonNullable<Snapshot["ledger"]> {
  const saved = tape.nodes.flatMap((node, op) => (node.saved ?? []).map((bytes, i) => ({ node: leaves + op, bytes, role: i })));
  const sizes = [...new Set(saved.map((row) => row.bytes))];
  const zeros = column("<i4", saved.map(() => 0));
  return {
    id: 0,
    graph: 0,
    roles: ["self", "other", "result", "weight"],
    shapes: [...sizes.map((bytes) => [bytes / 4]), ...outputs.values()],
    dtypes: ["float32"],
    devices: ["cpu"],
    saved_count: saved.length,
    node: column("<i4", saved.map((row) => row.node)),
    role: column("<i4", saved.map((row) => row.role)),
    shape: column("<i4", saved.map((row) => sizes.indexOf(row.bytes))),
    dtype: zeros,
    storage: column("<i4", saved.map((_, row) => row)),
    tensor_bytes: column("<u8", saved.map((row) => row.bytes)),
    site: column("<i4", saved.map(() => -1)),
    recomputed: column("|u1", saved.map(() => 0)),
    storage_count: saved.length,
    storage_bytes: column("<u8", saved.map((row) => row.bytes)),
    storage_class: column("|u1", saved.map(() => TENSOR_CLASSES.indexOf("activation"))),
    storage_device: zeros,
    output_node: column("<i4", [...outputs.keys()].map((op) => leaves + op)),
    output_shape: column("<i4", [...outputs.keys()].map((_, at) => sizes.length + at)),
    output_dtype: column("<i4", [...outputs.keys()].map(() => 0)),
  };
}

const MIB = 1024 ** 2;

/** A post-norm transformer: blocks of attention and MLP with residual adds, as a recorder attributes them. */
export function transformer(blocks: number, known: (module: string) => boolean = () => true): Tape {
  const tape = new Tape();
  const at = (module: string, rest: TapeOp = {}): TapeOp => ({ ...rest, module: known(module) ? module : undefined });
  let x = tape.op("EmbeddingBackward0", [], at("emb.wte", { parameters: ["emb.wte.weight"], line: 104, saved: [MIB / 32] }));
  for (let i = 0; i < blocks; i++) x = block(tape, `blocks.${i}`, x, at);
  x = tape.op("NativeLayerNormBackward0", [x], at("ln_f", { parameters: ["ln_f.weight", "ln_f.bias"], line: 110, saved: [12 * MIB] }));
  tape.op("MeanBackward0", [x], { line: 120, text: "loss = self.head(x).mean()" });
  return tape;
}

function block(tape: Tape, path: string, input: number, at: (module: string, rest?: TapeOp) => TapeOp): number {
  const parameters = (module: string): string[] => [`${path}.${module}.weight`, `${path}.${module}.bias`];
  const here = (module: string): string => `${path}.${module}`;
  const qkv = tape.op("AddmmBackward0", [input], at(here("attn.qkv"), { parameters: parameters("attn.qkv"), line: 46, text: "qkv = self.qkv(x)", saved: [12 * MIB] }));
  const [q, k, v] = [0, 1, 2].map(() => tape.op("PermuteBackward0", [qkv], at(here("attn"), { line: 47, text: "q, k, v = heads(qkv)" }))) as [number, number, number];
  const scores = tape.op("BmmBackward0", [q, k], at(here("attn"), { line: 48, text: "scores = q @ k.transpose(-2, -1)", saved: [12 * MIB, 12 * MIB] }));
  const soft = tape.op("SoftmaxBackward0", [scores], at(here("attn"), { line: 51, text: "att = scores.softmax(-1)", saved: [96 * MIB] }));
  const weighted = tape.op("BmmBackward0", [soft, v], at(here("attn"), { line: 54, text: "y = att @ v", saved: [24 * MIB] }));
  const proj = tape.op("AddmmBackward0", [weighted], at(here("attn.proj"), { parameters: parameters("attn.proj"), line: 55, text: "return self.proj(y)", saved: [12 * MIB] }));
  const first = tape.op("AddBackward0", [input, proj], at(path, { line: 88, text: "x = self.ln1(x + self.attn(x))" }));
  const ln1 = tape.op("NativeLayerNormBackward0", [first], at(here("ln1"), { parameters: parameters("ln1"), line: 88, saved: [15 * MIB] }));
  const fc1 = tape.op("AddmmBackward0", [ln1], at(here("mlp.fc1"), { parameters: parameters("mlp.fc1"), line: 66, saved: [12 * MIB] }));
  const gelu = tape.op("GeluBackward0", [fc1], at(here("mlp"), { line: 67, text: "h = F.gelu(h)", saved: [48 * MIB] }));
  const fc2 = tape.op("AddmmBackward0", [gelu], at(here("mlp.fc2"), { parameters: parameters("mlp.fc2"), line: 68, saved: [48 * MIB] }));
  const second = tape.op("AddBackward0", [ln1, fc2], at(path, { line: 89, text: "return self.ln2(x + self.mlp(x))" }));
  return tape.op("NativeLayerNormBackward0", [second], at(here("ln2"), { parameters: parameters("ln2"), line: 89, saved: [15 * MIB] }));
}

const LOSS: Variable = {
  expression: "loss",
  kind: "tensor",
  class_name: "Tensor",
  shape: [],
  dtype: "float32",
  device: "cpu",
  requires_grad: true,
  grad_fn: "MeanBackward0",
  sequence: 500,
  number: "2.31",
};

const RUN: Snapshot["run"] = {
  format_version: 1,
  gradwatch_version: "0.1.0",
  detail: "modules",
  start_ns: 0,
  hostname: "h",
  pid: 1,
  rank: 0,
  world_size: 1,
  argv: [],
  working_directory: "/home/someone",
  python_version: "3.11",
  torch_version: "2.13",
  cuda_version: null,
  platform: "linux",
  devices: [],
  git_revision: null,
  git_dirty: null,
  line_source: "line clock",
};

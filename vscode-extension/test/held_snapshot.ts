/** Small snapshots with a ledger, for the tests of the held view. */

import type { Column, NodeLabel, Snapshot } from "../shared/session";
import { NODE_STATES, TENSOR_CLASSES } from "../shared/session";

export interface TestNode {
  readonly op: string;
  readonly module?: number;
  readonly site?: number;
}

export interface TestSaved {
  readonly node: number;
  readonly role?: string;
  readonly storage: number;
  readonly shape?: readonly number[];
  readonly dtype?: string;
  readonly site?: number;
}

export interface TestStorage {
  readonly bytes: number;
  readonly tensorClass?: (typeof TENSOR_CLASSES)[number];
}

export interface TestLedger {
  readonly nodes: readonly TestNode[];
  readonly saved: readonly TestSaved[];
  readonly storages: readonly TestStorage[];
  readonly modules?: readonly string[];
  readonly lines?: readonly { readonly file: string; readonly line: number; readonly text: string }[];
  readonly labels?: readonly NodeLabel[];
  readonly states?: readonly (typeof NODE_STATES)[number][];
  readonly retainGraph?: boolean;
}

export function column(dtype: "<i4" | "<u4" | "<u8" | "|u1" | "<f4", values: readonly number[]): Column {
  return { dtype, data: new Uint8Array(arrayOf(dtype, values).buffer) };
}

function arrayOf(dtype: string, values: readonly number[]): ArrayBufferView<ArrayBuffer> {
  switch (dtype) {
    case "<i4":
      return Int32Array.from(values);
    case "<u4":
      return Uint32Array.from(values);
    case "<u8":
      return BigUint64Array.from(values, BigInt);
    case "<f4":
      return Float32Array.from(values);
    default:
      return Uint8Array.from(values);
  }
}

function interned<T>(values: readonly T[]): { readonly names: readonly T[]; readonly ids: Column } {
  const keys = values.map((value) => JSON.stringify(value));
  const unique = [...new Set(keys)];
  return { names: unique.map((key) => JSON.parse(key) as T), ids: column("<i4", keys.map((key) => unique.indexOf(key))) };
}

const ITEM_BYTES: Record<string, number> = { float32: 4, float16: 2, int64: 8, bool: 1 };

function sizeOf({ shape = [], dtype = "float32" }: TestSaved): number {
  return shape.reduce((product, size) => product * size, 1) * (ITEM_BYTES[dtype] ?? 4);
}

export function heldSnapshot(test: TestLedger): Snapshot {
  const { nodes, saved, storages } = test;
  const ops = interned(nodes.map((node) => node.op));
  const roles = interned(saved.map((row) => row.role ?? "self"));
  const shapes = interned(saved.map((row) => row.shape ?? []));
  const dtypes = interned(saved.map((row) => row.dtype ?? "float32"));
  const classes = storages.map((storage) => TENSOR_CLASSES.indexOf(storage.tensorClass ?? "activation"));
  const none = column("<i4", []);
  return {
    state: "ready",
    run: RUN,
    stop: {
      number: 1,
      time_ns: 0,
      step: -1,
      thread: 1,
      thread_name: "MainThread",
      file: "/home/someone/project/train.py",
      line: 1,
      function: "train_step",
      in_backward: test.states !== undefined,
      node_states: test.states ? column("|u1", test.states.map((state) => NODE_STATES.indexOf(state))) : null,
    },
    modules: (test.modules ?? []).map((path, id) => ({ id, root: "model", path, class_name: "Module" })),
    graph: {
      id: 0,
      digest: "d",
      names: ops.names,
      node_count: nodes.length,
      name: ops.ids,
      module: column("<i4", nodes.map((node) => node.module ?? -1)),
      site: column("<i4", nodes.map((node) => node.site ?? -1)),
      project_site: column("<i4", nodes.map((node) => node.site ?? -1)),
      parameter: column("<i4", nodes.map(() => -1)),
      in_backward: column("|u1", nodes.map(() => 0)),
      roots: [nodes.length - 1],
      edge_count: 0,
      edge_source: none,
      edge_slot: none,
      edge_target: none,
      edge_input_nr: none,
      labels: test.labels ?? [],
    },
    ledger: {
      id: 0,
      graph: 0,
      roles: roles.names,
      shapes: shapes.names,
      dtypes: dtypes.names,
      devices: ["cpu"],
      saved_count: saved.length,
      node: column("<i4", saved.map((row) => row.node)),
      role: roles.ids,
      shape: shapes.ids,
      dtype: dtypes.ids,
      storage: column("<i4", saved.map((row) => row.storage)),
      tensor_bytes: column("<u8", saved.map(sizeOf)),
      site: column("<i4", saved.map((row) => row.site ?? -1)),
      recomputed: column("|u1", saved.map(() => 0)),
      storage_count: storages.length,
      storage_bytes: column("<u8", storages.map((storage) => storage.bytes)),
      storage_class: column("|u1", classes),
      storage_device: column("<i4", storages.map(() => 0)),
      output_node: none,
      output_shape: none,
      output_dtype: none,
    },
    backward: {
      step: -1,
      index: 0,
      call: "backward",
      parent: -1,
      graph: 0,
      ledger: 0,
      start_ns: 0,
      duration_ns: 0,
      retain_graph: test.retainGraph ?? false,
      create_graph: false,
      has_inputs: false,
      thread: 1,
      held_bytes: storages.reduce((sum, storage) => sum + storage.bytes, 0),
      class_bytes: TENSOR_CLASSES.map((_, at) => storages.reduce((sum, s, i) => sum + (classes[i] === at ? s.bytes : 0), 0)),
    },
    sites: (test.lines ?? []).map(({ file, line }, id) => ({ id, file, line, function: "forward" })),
    site_texts: (test.lines ?? []).map(({ text }) => text),
  };
}

const RUN: Snapshot["run"] = {
  format_version: 1,
  gradwatch_version: "0.1.0",
  detail: "nodes",
  start_ns: 0,
  hostname: "example",
  pid: 4242,
  rank: 0,
  world_size: 1,
  argv: ["train.py"],
  working_directory: "/home/someone/project",
  python_version: "3.11.9",
  torch_version: "2.13.0",
  cuda_version: null,
  platform: "Linux",
  devices: ["cpu"],
  git_revision: null,
  git_dirty: null,
  line_source: "line clock",
};

// Generated from kernel_ext/gradwatch/records.py by `make contract`. Do not edit.
// What each field of a record in a file must be: what a stranger's file holds is read by these, not believed.

/** `time` is an int that may pass 2^53. Of a string that is none of these words: the record of that name. */
export type Shape =
  | string
  | { readonly list: Shape }
  | { readonly map: Shape }
  | { readonly maybe: Shape }
  | { readonly words: readonly string[] };

/** By record and field. */
export const FIELDS: Readonly<Record<string, Readonly<Record<string, Shape>>>> = {
  Column: { dtype: "str", data: "bytes" },
  Run: { format_version: "int", gradwatch_version: "str", detail: { words: ["parameters", "modules", "nodes"] }, start_ns: "time", hostname: "str", pid: "int", rank: "int", world_size: "int", argv: { list: "str" }, working_directory: "str", python_version: "str", torch_version: "str", cuda_version: { maybe: "str" }, platform: "str", devices: { list: "str" }, git_revision: { maybe: "str" }, git_dirty: { maybe: "bool" }, line_source: { words: ["line clock", "module calls"] } },
  SourceFile: { path: "str", sha256: "str", text: "str" },
  Site: { id: "int", file: "str", line: "int", function: "str", "column?": "int", "end_line?": "int", "end_column?": "int" },
  Sites: { sites: { list: "Site" } },
  Module: { id: "int", root: "str", path: "str", class_name: "str" },
  Modules: { modules: { list: "Module" } },
  Parameter: { id: "int", root: "str", path: "str", shape: { list: "int" }, dtype: "str", device: "str", numel: "int", bytes: "int", requires_grad: "bool", "is_leaf_tensor?": "bool", "module?": "int", "aliases?": { list: "str" }, "tensor_type?": "str", "local_shape?": { list: "int" }, "placements?": { list: "str" } },
  Parameters: { parameters: { list: "Parameter" } },
  ModuleOutput: { id: "int", module: "int", path: "str", call: "int" },
  ModuleOutputs: { outputs: { list: "ModuleOutput" } },
  NodeLabel: { node: "int", label: { words: ["compiled", "checkpointed", "offloaded", "functorch", "custom", "user hooks", "hidden"] }, text: "str", "region?": "int" },
  Graph: { id: "int", digest: "str", names: { list: "str" }, node_count: "int", name: "Column", module: "Column", site: "Column", project_site: "Column", parameter: "Column", in_backward: "Column", roots: { list: "int" }, edge_count: "int", edge_source: "Column", edge_slot: "Column", edge_target: "Column", edge_input_nr: "Column", "labels?": { list: "NodeLabel" } },
  CompiledRegion: { id: "int", name: "str", backend: "str", op_count: "int", op_names: { list: "str" }, targets: { list: "str" }, shapes: { list: { list: "int" } }, dtypes: { list: "str" }, target: "Column", phase: "Column", site: "Column", project_site: "Column", module: "Column", shape: "Column", dtype: "Column", saved: "Column", recomputed: "Column", forward_op: "Column", edge_count: "int", edge_source: "Column", edge_target: "Column" },
  Ledger: { id: "int", graph: "int", roles: { list: "str" }, shapes: { list: { list: "int" } }, dtypes: { list: "str" }, devices: { list: "str" }, saved_count: "int", node: "Column", role: "Column", shape: "Column", dtype: "Column", storage: "Column", tensor_bytes: "Column", site: "Column", recomputed: "Column", storage_count: "int", storage_bytes: "Column", storage_class: "Column", storage_device: "Column", output_node: "Column", output_shape: "Column", output_dtype: "Column" },
  Backward: { step: "int", index: "int", call: { words: ["backward", "grad"] }, parent: "int", graph: "int", ledger: "int", start_ns: "time", duration_ns: "time", retain_graph: "bool", create_graph: "bool", has_inputs: "bool", thread: "int", "held_bytes?": "int", "class_bytes?": { list: "int" }, "error?": { maybe: "str" }, "unobserved?": { maybe: "str" } },
  Step: { number: "int", source: { words: ["optimizer", "recorder.step", "backward"] }, start_ns: "time", end_ns: "time", backward_count: "int", optimizer_count: "int", cost_ns: "time", "loss?": { maybe: "float" }, "loss_nonfinite?": { maybe: { words: ["nan", "inf", "-inf"] } }, "interrupted?": { maybe: "str" }, "loss_scale?": { maybe: "float" }, "skipped?": "bool" },
  Gradients: { step: "int", backward: "int", subject_kind: { words: ["parameter", "module", "node", "local"] }, subjects: "Column", columns: { map: "Column" }, "stop?": "int" },
  Histograms: { step: "int", backward: "int", subject_kind: { words: ["parameter", "module", "node", "local"] }, subjects: "Column", codes: "Column", "stop?": "int" },
  OptimizerStep: { step: "int", optimizer: "int", optimizer_class: "str", subjects: "Column", columns: { map: "Column" }, "sampled?": { list: "int" } },
  Held: { step: "int", backward: "int", ledger: "int", curve_source: { words: ["walk", "hooks"] }, release_source: { words: ["observed", "estimated"] }, peak_bytes: "int", peak_ns: "time", curve_ns: "Column", curve_bytes: "Column", released_ns: "Column", died_ns: "Column", on_peak: "Column" },
  Series: { step: "int", first: "int", statistic: { words: ["l2", "min", "max", "nonfinite"] }, part: "int", parts: "int", width: "int", steps: "Column", subjects: "Column", values: "Column" },
  Totals: { step: "int", first: "int", steps: "Column", ended: "Column", start_ns: "Column", end_ns: "Column", cost_ns: "Column", loss: "Column", loss_seen: "Column", gradient_norm: "Column", nonfinite: "Column", call_step: "Column", call_graph: "Column", call_inside: "Column", call_held_bytes: "Column", "interrupted?": { map: "str" }, "skipped?": { list: "int" }, "loss_scale?": { maybe: "Column" } },
  Notice: { kind: { words: ["not observable", "partial", "probe stopped", "recorder"] }, text: "str", "step?": "int", "subject_kind?": { maybe: { words: ["parameter", "module", "node", "local"] } }, "subject?": "int", "probe?": { maybe: "str" }, "traceback?": { maybe: "str" } },
  Finish: { end_ns: "time", reason: "str", steps: "int", cost_ns: "time", records_dropped: "int" },
  Stop: { number: "int", time_ns: "time", step: "int", thread: "int", thread_name: "str", file: "str", line: "int", function: "str", "in_backward?": "bool", "graph?": "int", "running?": "int", "node_states?": { maybe: "Column" }, "fired_source?": { maybe: { words: ["order", "hooks"] } }, "condition?": "int", "reason?": "str" },
  GradientStates: { stop: "int", subjects: "Column", state: "Column", stale: "Column", changed: "Column", previous_norm: "Column", pending: "Column", "stale_unit?": { words: ["steps", "stops"] } },
};

/** The record of each topic. */
export const RECORD_OF = {
  "/run": "Run",
  "/source": "SourceFile",
  "/sites": "Sites",
  "/modules": "Modules",
  "/parameters": "Parameters",
  "/outputs": "ModuleOutputs",
  "/graphs": "Graph",
  "/compiled": "CompiledRegion",
  "/ledgers": "Ledger",
  "/backward": "Backward",
  "/steps": "Step",
  "/gradients": "Gradients",
  "/histograms": "Histograms",
  "/optimizer": "OptimizerStep",
  "/held": "Held",
  "/notices": "Notice",
  "/finish": "Finish",
  "/stops": "Stop",
  "/states": "GradientStates",
  "/series": "Series",
  "/totals": "Totals",
} as const;

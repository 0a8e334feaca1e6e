// Generated from kernel_ext/gradwatch/records.py by `make contract`. Do not edit.
// A session holds one MCAP channel per record type; each message is one MessagePack map.

export const FORMAT_VERSION = 1;
export const HISTOGRAM_BINS = 64;
export const HISTOGRAM_LOWEST_EXPONENT = -47;
export const TENSOR_CLASSES = ["activation", "parameter", "buffer", "input", "optimizer state", "not observable"] as const;
export const GRADIENT_STATES = ["None", "frozen", "present", "unread"] as const;
export const NODE_STATES = ["pending", "fired", "running", "unknown"] as const;
export const COMPILED_PHASES = ["forward", "backward"] as const;
export const STATISTIC_DTYPES = { count: "<u8", zeros: "<u8", nan: "<u8", inf: "<u8", subnormals: "<u8", min: "<f4", max: "<f4", mean: "<f4", l1: "<f4", l2: "<f4" } as const;
export const SERIES_STATISTICS = ["l2", "min", "max", "nonfinite"] as const;

/** A typed one-dimensional array: `dtype` as numpy spells it (`<f4`, `<u4`, `|u1`), and its bytes. */
export interface Column {
  dtype: string;
  data: Uint8Array;
}

/** Who recorded, where and when. First record of every file. */
export interface Run {
  format_version: number;
  gradwatch_version: string;
  detail: "parameters" | "modules" | "nodes";
  start_ns: bigint | number;
  hostname: string;
  pid: number;
  rank: number;
  world_size: number;
  argv: readonly string[];
  working_directory: string;
  python_version: string;
  torch_version: string;
  cuda_version: string | null;
  platform: string;
  devices: readonly string[];
  git_revision: string | null;
  git_dirty: boolean | null;
  line_source: "line clock" | "module calls";
}

/** The text of one of the user's files as it was when a line of it was first recorded. */
export interface SourceFile {
  path: string;
  sha256: string;
  text: string;
}

/** A place in the user's source. Lines count from 1, columns (UTF-8 bytes, -1 unknown) from 0. */
export interface Site {
  id: number;
  file: string;
  line: number;
  function: string;
  column?: number;
  end_line?: number;
  end_column?: number;
}

/** Source sites first seen since the last record of this type. */
export interface Sites {
  sites: readonly Site[];
}

/** A module of a recorded model. `path` is its fqn inside `root` ("" for the root itself). */
export interface Module {
  id: number;
  root: string;
  path: string;
  class_name: string;
}

/** Modules first seen, or renamed: of two entries with one id the later holds. */
export interface Modules {
  modules: readonly Module[];
}

/** A leaf tensor whose `.grad` is recorded. `path` is its fqn inside `root` ("" where it has none). */
export interface Parameter {
  id: number;
  root: string;
  path: string;
  shape: readonly number[];
  dtype: string;
  device: string;
  numel: number;
  bytes: number;
  requires_grad: boolean;
  is_leaf_tensor?: boolean;
  module?: number;
  aliases?: readonly string[];
  tensor_type?: string;
  local_shape?: readonly number[];
  placements?: readonly string[];
}

/** Parameters first seen, or renamed: of two entries with one id the later holds. */
export interface Parameters {
  parameters: readonly Parameter[];
}

/** One output of one module call in a step. `path` is "" or "[1]" or ".logits"; calls count from 0. */
export interface ModuleOutput {
  id: number;
  module: number;
  path: string;
  call: number;
}

/** Module outputs first seen since the last record of this type. */
export interface ModuleOutputs {
  outputs: readonly ModuleOutput[];
}

/** Why the inside of a node is not observable, or what is special about it. */
export interface NodeLabel {
  node: number;
  label: "compiled" | "checkpointed" | "offloaded" | "functorch" | "custom" | "user hooks" | "hidden";
  text: string;
  region?: number;
}

/** One distinct structure of an autograd graph; steps refer to it by `id`. */
export interface Graph {
  id: number;
  digest: string;
  names: readonly string[];
  node_count: number;
  name: Column;
  module: Column;
  site: Column;
  project_site: Column;
  parameter: Column;
  in_backward: Column;
  roots: readonly number[];
  edge_count: number;
  edge_source: Column;
  edge_slot: Column;
  edge_target: Column;
  edge_input_nr: Column;
  labels?: readonly NodeLabel[];
}

/** The graphs that AOTAutograd made of one compiled forward. Written before the first Graph that refers to it. */
export interface CompiledRegion {
  id: number;
  name: string;
  backend: string;
  op_count: number;
  op_names: readonly string[];
  targets: readonly string[];
  shapes: readonly (readonly number[])[];
  dtypes: readonly string[];
  target: Column;
  phase: Column;
  site: Column;
  project_site: Column;
  module: Column;
  shape: Column;
  dtype: Column;
  saved: Column;
  recomputed: Column;
  forward_op: Column;
  edge_count: number;
  edge_source: Column;
  edge_target: Column;
}

/** What one graph saved for backward, with its sizes. Distinct sizes are stored once. */
export interface Ledger {
  id: number;
  graph: number;
  roles: readonly string[];
  shapes: readonly (readonly number[])[];
  dtypes: readonly string[];
  devices: readonly string[];
  saved_count: number;
  node: Column;
  role: Column;
  shape: Column;
  dtype: Column;
  storage: Column;
  tensor_bytes: Column;
  site: Column;
  recomputed: Column;
  storage_count: number;
  storage_bytes: Column;
  storage_class: Column;
  storage_device: Column;
  output_node: Column;
  output_shape: Column;
  output_dtype: Column;
}

/** One call into autograd's engine: `.backward()` or `torch.autograd.grad()`. */
export interface Backward {
  step: number;
  index: number;
  call: "backward" | "grad";
  parent: number;
  graph: number;
  ledger: number;
  start_ns: bigint | number;
  duration_ns: bigint | number;
  retain_graph: boolean;
  create_graph: boolean;
  has_inputs: boolean;
  thread: number;
  held_bytes?: number;
  class_bytes?: readonly number[];
  error?: string | null;
  unobserved?: string | null;
}

/** One optimizer step (or what stands for it): written when the step ends. */
export interface Step {
  number: number;
  source: "optimizer" | "recorder.step" | "backward";
  start_ns: bigint | number;
  end_ns: bigint | number;
  backward_count: number;
  optimizer_count: number;
  cost_ns: bigint | number;
  loss?: number | null;
  loss_nonfinite?: "nan" | "inf" | "-inf" | null;
  interrupted?: string | null;
  loss_scale?: number | null;
  skipped?: boolean;
}

/** Statistics of gradients seen in one backward call: one row per subject. */
export interface Gradients {
  step: number;
  backward: number;
  subject_kind: "parameter" | "module" | "node" | "local";
  subjects: Column;
  columns: Readonly<Record<string, Column>>;
  stop?: number;
}

/** log2 histograms, HISTOGRAM_BINS per subject, row-major, quantised to one byte a bin. */
export interface Histograms {
  step: number;
  backward: number;
  subject_kind: "parameter" | "module" | "node" | "local";
  subjects: Column;
  codes: Column;
  stop?: number;
}

/** Parameters around one optimizer.step(): one row per parameter (`subjects`, ids, `<u4`). */
export interface OptimizerStep {
  step: number;
  optimizer: number;
  optimizer_class: string;
  subjects: Column;
  columns: Readonly<Record<string, Column>>;
  sampled?: readonly number[];
}

/** Bytes held for backward over one backward call. */
export interface Held {
  step: number;
  backward: number;
  ledger: number;
  curve_source: "walk" | "hooks";
  release_source: "observed" | "estimated";
  peak_bytes: number;
  peak_ns: bigint | number;
  curve_ns: Column;
  curve_bytes: Column;
  released_ns: Column;
  died_ns: Column;
  on_peak: Column;
}

/** One statistic of `width` parameters over the steps `first` to `step`: their curves without their Gradients. */
export interface Series {
  step: number;
  first: number;
  statistic: "l2" | "min" | "max" | "nonfinite";
  part: number;
  parts: number;
  width: number;
  steps: Column;
  subjects: Column;
  values: Column;
}

/** What a timeline shows of the steps `first` to `step`, so that it need not read their records. */
export interface Totals {
  step: number;
  first: number;
  steps: Column;
  ended: Column;
  start_ns: Column;
  end_ns: Column;
  cost_ns: Column;
  loss: Column;
  loss_seen: Column;
  gradient_norm: Column;
  nonfinite: Column;
  call_step: Column;
  call_graph: Column;
  call_inside: Column;
  call_held_bytes: Column;
  interrupted?: Readonly<Record<string, string>>;
  skipped?: readonly number[];
  loss_scale?: Column | null;
}

/** The module calls of one step, one row per module called or known: written with the step's details. */
export interface ModuleCalls {
  step: number;
  modules: Column;
  calls: Column;
  without_grad: Column;
  training: Column;
  forward_ns: Column;
}

/** A tensor that an optimizer updates and no recorded module has. */
export interface ForeignParameter {
  shape: readonly number[];
  dtype: string;
  like?: number;
}

/** Which parameters an optimizer updates (`parameters`, ids, `<u4`), as of `step`. Written anew when it changes. */
export interface OptimizerMembers {
  step: number;
  optimizer: number;
  optimizer_class: string;
  parameters: Column;
  foreign?: readonly ForeignParameter[];
}

/** An op of a traced step whose result lost the graph of what it was given. */
export interface Cut {
  kind: "detached" | "data" | "number" | "numpy" | "no_grad" | "inference_mode" | "not differentiable" | "rebuilt";
  op: string;
  site: number;
  project_site: number;
  module: number;
  parameters: readonly number[];
  reaches_loss: boolean;
  name?: string;
  count?: number;
}

/** A tensor of a traced step with a graph behind it that no backward call of the step went through. */
export interface DeadEnd {
  node: string;
  op: string;
  site: number;
  project_site: number;
  module: number;
  parameters: readonly number[];
  name?: string;
  saved_bytes?: number;
  used?: number;
}

/** An op of a traced step that changed a tensor in place, or what `.grad` is (`op` "Tensor.grad.__set__"). */
export interface Write {
  op: string;
  site: number;
  project_site: number;
  module: number;
  phase: "forward" | "backward" | "update";
  name?: string;
  parameters?: readonly number[];
  count?: number;
}

/** One step whose every op was seen as the program called it (a TorchFunctionMode; never beside torch.compile). */
export interface Trace {
  step: number;
  reason: "first step" | "unreached parameters" | "non-finite values" | "asked for";
  op_count: number;
  truncated: boolean;
  used_parameters: Column;
  uses: Column;
  cuts?: readonly Cut[];
  dead_ends?: readonly DeadEnd[];
  writes?: readonly Write[];
  graph?: number;
  node_site?: Column | null;
  node_project_site?: Column | null;
}

/** Statistics of module outputs in the forward, as Gradients has them: `subjects` (`<u4`) are output ids. */
export interface Activations {
  step: number;
  subjects: Column;
  columns: Readonly<Record<string, Column>>;
}

/** A tensor at the birth of a non-finite value, as it was read then. */
export interface Operand {
  role: string;
  shape: readonly number[];
  dtype: string;
  count: number;
  zeros: number;
  nan: number;
  inf: number;
  min: number;
  max: number;
  facts?: Readonly<Record<string, number>>;
}

/** Where a NaN, an Inf or an underflow began: an op that was given finite values and did not return them. */
export interface Birth {
  step: number;
  backward: number;
  phase: "forward" | "backward";
  nan: number;
  inf: number;
  graph: number;
  node: number;
  op: string;
  module: number;
  site: number;
  project_site: number;
  exact: boolean;
  source?: "" | "input" | "parameter" | "seed";
  operands?: readonly Operand[];
  path?: readonly number[];
  healed?: readonly number[];
  parameters?: readonly number[];
  name?: string;
}

/** The gradients that meet at one node output, before the engine adds them up. Of one backward call. */
export interface FanIn {
  node: number;
  input_nr: number;
  sources: readonly number[];
  norms: readonly number[];
  shares: readonly number[];
  cosines: readonly number[];
}

/** The gradient on both sides of one activation (sigmoid, tanh, softmax), of one backward call. */
export interface Passage {
  node: number;
  arrived: number;
  passed: number;
  lost: number;
  width: number;
}

/** Fan-ins and activations of one backward call that were measured; nodes are indices in `graph`. */
export interface FanIns {
  step: number;
  backward: number;
  graph: number;
  fan_ins: readonly FanIn[];
  passages?: readonly Passage[];
}

/** Signal and noise of parameters' gradients over the `window` steps that end at `step`. */
export interface GradientNoise {
  step: number;
  window: number;
  subjects: Column;
  signal: Column;
  noise: Column;
  sampled?: Column | null;
  silent?: Column | null;
}

/** Who keeps something alive. */
export interface Holder {
  chain: string;
  kind: "local" | "global" | "closure" | "attribute" | "Out" | "traceback" | "hook" | "cycle" | "optimizer" | "module" | "unknown";
  site?: number;
  count?: number;
}

/** Graphs of past steps that are still alive: `graphs` of them, of steps `made` (ascending, at most 64). */
export interface Retained {
  step: number;
  graphs: number;
  made: readonly number[];
  held_bytes: number;
  node_count: number;
  op: string;
  site: number;
  project_site: number;
  holders?: readonly Holder[];
  name?: string;
}

/** An error that autograd raised, or will raise, with both lines that it takes. */
export interface Fault {
  step: number;
  backward: number;
  kind: "in-place" | "second backward" | "no gradient" | "shape";
  op: string;
  site: number;
  project_site: number;
  other_op: string;
  other_site: number;
  other_project_site: number;
  module?: number;
  graph?: number;
  node?: number;
  name?: string;
  role?: string;
  raised?: boolean;
  message?: string;
}

/** A device, or the host, had no memory left: what was held at that instant. Bytes; -1 not known. */
export interface OutOfMemory {
  step: number;
  phase: "forward" | "backward";
  device: string;
  message: string;
  op: string;
  module: number;
  site: number;
  project_site: number;
  requested_bytes: number;
  allocated_bytes: number;
  reserved_bytes: number;
  total_bytes: number;
  free_in_pool: number;
  graph?: number;
  ledger?: number;
  held_bytes?: number;
  class_bytes?: readonly number[];
  parameter_bytes?: number;
  gradient_bytes?: number;
  optimizer_bytes?: number;
}

/** Saved tensors of one backward call that hold the same data in different storages. */
export interface Copies {
  step: number;
  backward: number;
  graph: number;
  ledger: number;
  first: Column;
  second: Column;
  compared?: boolean;
}

/** One change that was tried for real: the step before it and the one with it, measured in one run. */
export interface Trial {
  change: "checkpoint" | "bf16 saving" | "save_on_cpu" | "in-place activation" | "fused attention";
  target: string;
  modules: readonly number[];
  before_step: number;
  after_step: number;
  before_peak: number;
  after_peak: number;
  before_step_ns: bigint | number;
  after_step_ns: bigint | number;
  same_gradients?: boolean | null;
  note?: string;
}

/** An answer: what is wrong, where, why, and what to do. Ids are those of the session (or snapshot) it is of. */
export interface Finding {
  kind: "unreached" | "stale" | "zero gradient" | "frozen" | "not optimized" | "replaced" | "zeroed" | "skipped" | "reached" | "nan" | "inf" | "underflow" | "vanishing" | "exploding" | "dead units" | "saturated" | "update ratio" | "noise" | "drowned" | "conflict" | "held" | "saved unused" | "saved twice" | "held long" | "held by ctx" | "what if" | "retained graph" | "in-place" | "second backward" | "out of memory";
  severity: "error" | "warning" | "note";
  title: string;
  sentence: string;
  cause?: string;
  fix?: string;
  steps?: readonly number[];
  backward?: number;
  graph?: number;
  nodes?: readonly number[];
  parameters?: readonly number[];
  modules?: readonly number[];
  site?: number;
  other_site?: number;
  name?: string;
  bytes?: number;
  evidence?: readonly string[];
  certainty?: "measured" | "inferred" | "estimated";
}

/** What was found in this session when it was closed. A reader in Python finds anew; one without takes these. */
export interface Findings {
  findings: readonly Finding[];
}

/** Something the reader must be told: what cannot be seen, or a probe of ours that failed. */
export interface Notice {
  kind: "not observable" | "partial" | "probe stopped" | "recorder";
  text: string;
  step?: number;
  subject_kind?: "parameter" | "module" | "node" | "local" | null;
  subject?: number;
  probe?: string | null;
  traceback?: string | null;
}

/** How the recording ended. Absent from a session whose process was killed. */
export interface Finish {
  end_ns: bigint | number;
  reason: string;
  steps: number;
  cost_ns: bigint | number;
  records_dropped: number;
}

/** The program stood still and a debugger asked: where it stood, and how far backward had come. */
export interface Stop {
  number: number;
  time_ns: bigint | number;
  step: number;
  thread: number;
  thread_name: string;
  file: string;
  line: number;
  function: string;
  in_backward?: boolean;
  graph?: number;
  running?: number;
  node_states?: Column | null;
  fired_source?: "order" | "hooks" | null;
  condition?: number;
  reason?: string;
}

/** How the `.grad` of each parameter stood at a stop: one row per parameter id in `subjects` (`<u4`). */
export interface GradientStates {
  stop: number;
  subjects: Column;
  state: Column;
  stale: Column;
  changed: Column;
  previous_norm: Column;
  pending: Column;
  stale_unit?: "steps" | "stops";
}

/** A tensor, module or optimizer that the stopped frame reaches, by the expression that reaches it. */
export interface Variable {
  expression: string;
  kind: "tensor" | "module" | "optimizer";
  class_name: string;
  shape?: readonly number[];
  dtype?: string;
  device?: string;
  requires_grad?: boolean;
  grad_fn?: string | null;
  sequence?: number;
  parameter?: number;
  parameter_count?: number;
  number?: string | null;
}

/** A part of an answer that is not there: `done` of `total` units were read before `reason` ended it. */
export interface Missing {
  part: "scope" | "gradients" | "histograms" | "graph" | "held" | "values";
  reason: string;
  done?: number;
  total?: number;
}

/** A frame above the stopped one that reaches tensors with requires_grad: `depth` 1 is the caller. */
export interface Caller {
  depth: number;
  function: string;
  file: string;
  line: number;
  tensor_count: number;
}

/** When to stop inside backward. Set from the panel, kept by the debuggee, gone with the process. */
export interface Condition {
  id: number;
  kind: "first non-finite" | "norm exceeds" | "node" | "parameter" | "module" | "next node";
  enabled?: boolean;
  node?: number;
  graph_digest?: string;
  name?: string;
  module?: string;
  line?: string;
  parameter?: string;
  limit?: number;
  hits?: number;
}

/** The recorder that runs in the stopped process: `cost` is its measured share of the run's time. */
export interface Recording {
  path: string;
  detail: "parameters" | "modules" | "nodes";
  steps: number;
  cost: number;
}

/** The answer at a stop: gradients, graph and held memory of what the frame reaches. */
export interface Snapshot {
  state: "ready" | "no torch" | "nothing differentiable";
  run: Run;
  stop: Stop;
  variables?: readonly Variable[];
  root?: number;
  modules?: readonly Module[];
  parameters?: readonly Parameter[];
  states?: GradientStates | null;
  gradients?: readonly Gradients[];
  histograms?: readonly Histograms[];
  graph?: Graph | null;
  ledger?: Ledger | null;
  backward?: Backward | null;
  sites?: readonly Site[];
  site_texts?: readonly string[];
  notices?: readonly Notice[];
  missing?: readonly Missing[];
  callers?: readonly Caller[];
  conditions?: readonly Condition[];
  recording?: Recording | null;
  regions?: readonly CompiledRegion[];
  findings?: readonly Finding[];
  cost_ms?: Readonly<Record<string, number>>;
}

/** Which tensor `values` asks for, among those of snapshot `stop`; one of the three is not -1. */
export interface Subject {
  stop: number;
  field: "value" | "grad" | "saved" | "grad output";
  parameter?: number;
  variable?: number;
  node?: number;
  role?: string;
  position?: number;
}

/** A window of a tensor: `rows` times `columns` values (`<f4`, row-major) of the last two dimensions. */
export interface Values {
  subject: Subject;
  shape: readonly number[];
  dtype: string;
  device: string;
  index: readonly number[];
  row: number;
  column: number;
  rows: number;
  columns: number;
  values: Column;
  first_nonfinite?: readonly number[] | null;
  missing?: readonly Missing[];
}

/** A question that could not be answered: what happened, and the way out in the message. */
export interface Failure {
  error: string;
  message: string;
  traceback?: string;
}

/** The record type of each topic. */
export interface Topics {
  "/run": Run;
  "/source": SourceFile;
  "/sites": Sites;
  "/modules": Modules;
  "/parameters": Parameters;
  "/outputs": ModuleOutputs;
  "/graphs": Graph;
  "/compiled": CompiledRegion;
  "/ledgers": Ledger;
  "/backward": Backward;
  "/steps": Step;
  "/gradients": Gradients;
  "/histograms": Histograms;
  "/optimizer": OptimizerStep;
  "/held": Held;
  "/notices": Notice;
  "/finish": Finish;
  "/stops": Stop;
  "/states": GradientStates;
  "/series": Series;
  "/totals": Totals;
  "/calls": ModuleCalls;
  "/members": OptimizerMembers;
  "/traces": Trace;
  "/activations": Activations;
  "/births": Birth;
  "/fan_ins": FanIns;
  "/noise": GradientNoise;
  "/retained": Retained;
  "/faults": Fault;
  "/out_of_memory": OutOfMemory;
  "/copies": Copies;
  "/trials": Trial;
  "/findings": Findings;
}

"""The contract: every record on disk and on the wire, as plain dataclasses.

A session is a stream of these records, one MCAP channel per record type (`TOPICS`), each message
one MessagePack map from field name to value. Readers ignore unknown topics and unknown fields; a
field added later therefore needs a default. `vscode-extension/shared/session.ts` is generated from
this file (`make contract`), and a test fails when the two differ.

Standard library only: the probe that a debugger imports into a user's program needs nothing else.

Conventions: times are nanoseconds since the epoch unless the name says otherwise; `bytes` fields
inside a `Column` are little-endian arrays; ids are dense integers from 0; -1 means none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FORMAT_VERSION = 1
"""Raised when an older reader would misread a newer file; additions do not raise it."""

HISTOGRAM_BINS = 64
HISTOGRAM_LOWEST_EXPONENT = -47
"""Bin k counts finite non-zero values with floor(log2|x|) = k - 47; the end bins are open."""

Detail = Literal["parameters", "modules", "nodes"]
SubjectKind = Literal["parameter", "module", "node", "local"]
StepSource = Literal["optimizer", "recorder.step", "backward"]
Call = Literal["backward", "grad"]
CurveSource = Literal["walk", "hooks"]
ReleaseSource = Literal["observed", "estimated"]
TensorClass = Literal["activation", "parameter", "buffer", "input", "optimizer state", "not observable"]
NoticeKind = Literal["not observable", "partial", "probe stopped", "recorder"]
FiredSource = Literal["order", "hooks"]
SnapshotState = Literal["ready", "no torch", "nothing differentiable"]
VariableKind = Literal["tensor", "module", "optimizer"]
ConditionKind = Literal["first non-finite", "norm exceeds", "node", "parameter", "module", "next node"]
ValuesField = Literal["value", "grad", "saved", "grad output"]
SeriesStatistic = Literal["l2", "min", "max", "nonfinite"]

TENSOR_CLASSES: tuple[TensorClass, ...] = (
    "activation",
    "parameter",
    "buffer",
    "input",
    "optimizer state",
    "not observable",
)
"""`Ledger.storage_class` holds indices into this tuple."""

GRADIENT_STATES: tuple[str, ...] = ("None", "frozen", "present", "unread")
"""`GradientStates.state` holds indices into this tuple: `.grad` is None though grad is required; None and
not required; a tensor whose statistics were read; a tensor that was not read (the notices say why)."""

COMPILED_PHASES: tuple[str, ...] = ("forward", "backward")
"""`CompiledRegion.phase` holds indices into this tuple."""

NODE_STATES: tuple[str, ...] = ("pending", "fired", "running", "unknown")
"""`Stop.node_states` holds indices into this tuple."""

STATISTIC_DTYPES: dict[str, str] = {
    "count": "<u8",
    "zeros": "<u8",
    "nan": "<u8",
    "inf": "<u8",
    "subnormals": "<u8",
    "min": "<f4",
    "max": "<f4",
    "mean": "<f4",
    "l1": "<f4",
    "l2": "<f4",
}
"""Statistics of one tensor: counts over all elements; min, max, mean, L1 and L2 over finite ones (where
there are none, NaN for the first three and 0 for the norms). Complex tensors count real and imaginary
parts, so `count` is twice their numel. A value beyond float32's range widens its column to `<f8`."""

SERIES_STATISTICS: tuple[SeriesStatistic, ...] = ("l2", "min", "max", "nonfinite")
"""What `Series` records hold, in the order of their parts; "nonfinite" counts NaN and Inf elements together."""


@dataclass(frozen=True, slots=True)
class Column:
    """A typed one-dimensional array: `dtype` as numpy spells it (`<f4`, `<u4`, `|u1`), and its bytes."""

    dtype: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Who recorded, where and when. First record of every file."""

    format_version: int
    gradwatch_version: str
    detail: Detail
    start_ns: int
    hostname: str
    pid: int
    rank: int
    world_size: int
    argv: list[str]
    working_directory: str
    python_version: str
    torch_version: str
    cuda_version: str | None
    platform: str
    devices: list[str]
    git_revision: str | None
    git_dirty: bool | None
    line_source: Literal["line clock", "module calls"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The text of one of the user's files as it was when a line of it was first recorded."""

    path: str
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the user's source. Lines count from 1, columns (UTF-8 bytes, -1 unknown) from 0."""

    id: int
    file: str
    line: int
    function: str
    column: int = -1
    end_line: int = -1
    end_column: int = -1


@dataclass(frozen=True, slots=True)
class Sites:
    """Source sites first seen since the last record of this type."""

    sites: list[Site]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of a recorded model. `path` is its fqn inside `root` ("" for the root itself)."""

    id: int
    root: str
    path: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Modules:
    """Modules first seen, or renamed: of two entries with one id the later holds."""

    modules: list[Module]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A leaf tensor whose `.grad` is recorded. `path` is its fqn inside `root` ("" where it has none).

    `aliases` are the other names of a tied weight. `is_leaf_tensor` marks a tensor that belongs to no
    module. `bytes` is numel times element size of the local data. Of a DTensor `shape` and `numel` are those of
    the whole, `local_shape` of this rank's part, and `placements` says how it lies on each dimension of the mesh
    ("Shard(dim=0)").
    """

    id: int
    root: str
    path: str
    shape: list[int]
    dtype: str
    device: str
    numel: int
    bytes: int
    requires_grad: bool
    is_leaf_tensor: bool = False
    module: int = -1
    aliases: list[str] = field(default_factory=list[str])
    tensor_type: str = "Tensor"
    local_shape: list[int] = field(default_factory=list[int])
    placements: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters first seen, or renamed: of two entries with one id the later holds."""

    parameters: list[Parameter]


@dataclass(frozen=True, slots=True)
class ModuleOutput:
    """One output of one module call in a step. `path` is "" or "[1]" or ".logits"; calls count from 0."""

    id: int
    module: int
    path: str
    call: int


@dataclass(frozen=True, slots=True)
class ModuleOutputs:
    """Module outputs first seen since the last record of this type."""

    outputs: list[ModuleOutput]


@dataclass(frozen=True, slots=True)
class NodeLabel:
    """Why the inside of a node is not observable, or what is special about it.

    `region` is the id of the CompiledRegion that a compiled node opens into, -1 where its graph was not seen.
    """

    node: int
    label: Literal["compiled", "checkpointed", "offloaded", "functorch", "custom", "user hooks", "hidden"]
    text: str
    region: int = -1


@dataclass(frozen=True, slots=True)
class Graph:
    """One distinct structure of an autograd graph; steps refer to it by `id`.

    Nodes are in forward order: leaves first, then by sequence number, roots last. Node columns
    (`<i4`): `name` into `names`, `module` and `site` / `project_site` ids, `parameter` the leaf's id.
    `in_backward` (`|u1`) is 1 for nodes that a backward call with create_graph made. Edge columns
    (`<u4`): gradient flows from `edge_source` through its next_functions entry `edge_slot` to output
    `edge_input_nr` of `edge_target`.
    """

    id: int
    digest: str
    names: list[str]
    node_count: int
    name: Column
    module: Column
    site: Column
    project_site: Column
    parameter: Column
    in_backward: Column
    roots: list[int]
    edge_count: int
    edge_source: Column
    edge_slot: Column
    edge_target: Column
    edge_input_nr: Column
    labels: list[NodeLabel] = field(default_factory=list[NodeLabel])


@dataclass(frozen=True, slots=True)
class CompiledRegion:
    """The graphs that AOTAutograd made of one compiled forward. Written before the first Graph that refers to it.

    Ops stand in the order of their graph, those of the forward first. `op_names` has each op's name in its graph
    ("addmm_1"; unique within a phase). Op columns: `target` (`<i4`) into `targets` ("aten.addmm.default", "input"
    for what a graph is given), `phase` (`|u1`) into COMPILED_PHASES, `site` / `project_site` (`<i4`, ids, -1
    where the compiler lost them), `module` (`<i4`, id or -1), `shape` (`<i4`) into `shapes` and `dtype`
    (`<i4`) into `dtypes` of its result, -1 where it is no single tensor; a symbolic size is -1. `saved` (`|u1`) is 1
    for forward ops whose result is kept for backward, `recomputed` (`|u1`) 1 for backward ops that repeat one
    of the forward, so that its result need not be kept, and `forward_op` (`<i4`) which one: for inputs of the
    backward the forward op that was saved, -1 for all others. Edge columns (`<u4`): the result of `edge_source` is
    used by `edge_target`.
    """

    id: int
    name: str
    backend: str
    op_count: int
    op_names: list[str]
    targets: list[str]
    shapes: list[list[int]]
    dtypes: list[str]
    target: Column
    phase: Column
    site: Column
    project_site: Column
    module: Column
    shape: Column
    dtype: Column
    saved: Column
    recomputed: Column
    forward_op: Column
    edge_count: int
    edge_source: Column
    edge_target: Column


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one graph saved for backward, with its sizes. Distinct sizes are stored once.

    Row columns, one entry per saved tensor: `node` (`<i4`, -1 when no node is known), `role` into
    `roles`, `shape` into `shapes`, `dtype` into `dtypes`, `storage` (all `<i4`), `tensor_bytes`
    (`<u8`, numel times element size), `site` (`<i4`, -1: the node's own site), `recomputed` (`|u1`,
    1 when saved during backward). Storage columns: `storage_bytes` (`<u8`, the whole storage, which is
    what stays allocated), `storage_class` (`|u1`, into TENSOR_CLASSES), `storage_device` into `devices`.
    Output columns describe node outputs: `output_node` (ascending), `output_shape`, `output_dtype`.
    """

    id: int
    graph: int
    roles: list[str]
    shapes: list[list[int]]
    dtypes: list[str]
    devices: list[str]
    saved_count: int
    node: Column
    role: Column
    shape: Column
    dtype: Column
    storage: Column
    tensor_bytes: Column
    site: Column
    recomputed: Column
    storage_count: int
    storage_bytes: Column
    storage_class: Column
    storage_device: Column
    output_node: Column
    output_shape: Column
    output_dtype: Column


@dataclass(frozen=True, slots=True)
class Backward:
    """One call into autograd's engine: `.backward()` or `torch.autograd.grad()`.

    `index` counts calls within the step; `parent` is the index of the call it ran inside (reentrant
    checkpointing), else -1. `graph` and `ledger` are -1 where the walk was off or not possible
    (`unobserved` says why). `class_bytes` is what autograd held through this graph when the call began, storages
    counted once, in TENSOR_CLASSES order; `held_bytes` sums the classes that backward keeps alive: activations,
    inputs and what is not observable, for parameters, buffers and optimizer state would stay without it.
    """

    step: int
    index: int
    call: Call
    parent: int
    graph: int
    ledger: int
    start_ns: int
    duration_ns: int
    retain_graph: bool
    create_graph: bool
    has_inputs: bool
    thread: int
    held_bytes: int = -1
    class_bytes: list[int] = field(default_factory=list[int])
    error: str | None = None
    unobserved: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step (or what stands for it): written when the step ends.

    `loss` is the value of the last scalar root of a `.backward()` call in the step. `cost_ns` is the
    time spent inside gradwatch's own code on the program's threads. `loss_scale` is the factor that a GradScaler
    multiplied the loss with, None where none did: gradients as accumulated carry it, `loss` and the norms of
    OptimizerStep do not. `skipped` says that it found NaN or Inf and left the parameters as they were.
    """

    number: int
    source: StepSource
    start_ns: int
    end_ns: int
    backward_count: int
    optimizer_count: int
    cost_ns: int
    loss: float | None = None
    loss_nonfinite: Literal["nan", "inf", "-inf"] | None = None
    interrupted: str | None = None
    loss_scale: float | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Gradients:
    """Statistics of gradients seen in one backward call: one row per subject.

    `subjects` (`<u4`) are parameter ids (their `.grad` as accumulated when the call ended), module output ids,
    or node indices in the call's graph (the gradient of the node's outputs). The kind "local" are parameter ids
    again: this rank's own gradient of this call alone, before it was reduced over the ranks; it stands only where the
    program reduces.
    `columns` holds the statistics by the names of STATISTIC_DTYPES. Where `stop` is not -1 they are those that
    a debugger found at that stop, of no backward call (`backward` is -1).
    """

    step: int
    backward: int
    subject_kind: SubjectKind
    subjects: Column
    columns: dict[str, Column]
    stop: int = -1


@dataclass(frozen=True, slots=True)
class Histograms:
    """log2 histograms, HISTOGRAM_BINS per subject, row-major, quantised to one byte a bin.

    A byte is 0 for no values and 1 + round(8 log2 count) otherwise (within 4.5 % of the count, up to
    3.6e9, where it ends). `stop` as in Gradients.
    """

    step: int
    backward: int
    subject_kind: SubjectKind
    subjects: Column
    codes: Column
    stop: int = -1


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """Parameters around one optimizer.step(): one row per parameter (`subjects`, ids, `<u4`).

    Columns (`<f4`): `gradient_norm` of the gradient the optimizer used, `parameter_norm` before the
    step, `update_ratio` = ||change|| / ||parameter||. `sampled` lists parameters above 16,384 elements,
    whose norm and ratio were estimated from that many, spread evenly.
    """

    step: int
    optimizer: int
    optimizer_class: str
    subjects: Column
    columns: dict[str, Column]
    sampled: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes held for backward over one backward call.

    The curve (`curve_ns` `<i8` relative to the call's start, `curve_bytes` `<i8`) counts storages whose
    last saver autograd has not yet let go: from the walk it starts at the call, from hooks it
    covers the forward too. `released_ns` (`<i8` per storage of the ledger, relative to the call's
    start, -1 when the call did not release it) is autograd's release; `died_ns` is the storage's own
    end: a storage the program still holds outlives its release. `on_peak` (`|u1` per saved row;
    empty: every row) marks what was held at the peak.
    """

    step: int
    backward: int
    ledger: int
    curve_source: CurveSource
    release_source: ReleaseSource
    peak_bytes: int
    peak_ns: int
    curve_ns: Column
    curve_bytes: Column
    released_ns: Column
    died_ns: Column
    on_peak: Column


@dataclass(frozen=True, slots=True)
class Series:
    """One statistic of `width` parameters over the steps `first` to `step`: their curves without their Gradients.

    `steps` (`<u4`, ascending) are those of the stretch in which a parameter's gradient was seen, `subjects`
    (`<u4`) ids of parameters. `values` (`<f4`, or `<f8` where a value does not fit) holds a row of
    `steps` per subject: of the last backward call that reached it in the step, NaN where none did. Each record is a
    chunk of its own. A stretch has `parts` of them, one behind the other: of each of SERIES_STATISTICS in order, ids
    from 0 to `width` - 1, the next `width` ids, and so on. Stretches follow each other without a gap; what
    Gradients bring of a step more than two steps behind the newest may be missing. Steps after the last are in
    Gradients alone.
    """

    step: int
    first: int
    statistic: SeriesStatistic
    part: int
    parts: int
    width: int
    steps: Column
    subjects: Column
    values: Column


@dataclass(frozen=True, slots=True)
class Totals:
    """What a timeline shows of the steps `first` to `step`, so that it need not read their records.

    `steps` (`<u4`, ascending) are those that anything was recorded of. Per step: `ended` (`|u1`) is 1 where it has a
    Step record, whose fields `start_ns`, `end_ns`, `cost_ns` (`<i8`, else -1) and `loss` (`<f8`, with its NaN
    and infinities; `loss_seen`, `|u1`, is 0 where it has none) are; `gradient_norm` (`<f8`, NaN where no gradient
    was seen) is the L2 norm over finite gradients of all parameters, `nonfinite` (`<i4`, else -1) how many of
    them had NaN or Inf. Of Backward records, in order, with a row for all that follow each other and agree in the
    first three: `call_step` (`<u4`), `call_graph` (`<i4`), `call_inside` (`|u1`, 1 for calls inside another)
    and `call_held_bytes` (`<i8`), the most that any of them found held. `interrupted` names steps that ended
    early, and why; `skipped` lists those whose Step says so; `loss_scale` (`<f8`, NaN where a step has none) is that
    of each step, None where none of them has one. Stretches follow each other as those of Series do.
    """

    step: int
    first: int
    steps: Column
    ended: Column
    start_ns: Column
    end_ns: Column
    cost_ns: Column
    loss: Column
    loss_seen: Column
    gradient_norm: Column
    nonfinite: Column
    call_step: Column
    call_graph: Column
    call_inside: Column
    call_held_bytes: Column
    interrupted: dict[str, str] = field(default_factory=dict[str, str])
    skipped: list[int] = field(default_factory=list[int])
    loss_scale: Column | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the reader must be told: what cannot be seen, or a probe of ours that failed."""

    kind: NoticeKind
    text: str
    step: int = -1
    subject_kind: SubjectKind | None = None
    subject: int = -1
    probe: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """How the recording ended. Absent from a session whose process was killed."""

    end_ns: int
    reason: str
    steps: int
    cost_ns: int
    records_dropped: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The program stood still and a debugger asked: where it stood, and how far backward had come.

    `number` counts the stops of a process from 1; `step` is the recorder's step, or the optimizer steps
    counted by an optimizer in scope, -1 where neither is known. `in_backward` says that the stopped thread
    was inside a call into autograd's engine; then `graph` is that call's graph, `running` the node being
    run (-1 not known) and `node_states` (`|u1` per node, into NODE_STATES) what has fired: seen by hooks, or
    inferred from the engine's order (highest sequence number first), which is exact for one forward thread and
    one device and reads "unknown" elsewhere. `condition` is the id of the condition that stopped it, -1 none.
    """

    number: int
    time_ns: int
    step: int
    thread: int
    thread_name: str
    file: str
    line: int
    function: str
    in_backward: bool = False
    graph: int = -1
    running: int = -1
    node_states: Column | None = None
    fired_source: FiredSource | None = None
    condition: int = -1
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GradientStates:
    """How the `.grad` of each parameter stood at a stop: one row per parameter id in `subjects` (`<u4`).

    `state` (`|u1`) into GRADIENT_STATES. `stale` (`<i4`) counts the optimizer steps (`stale_unit` says when
    it had to count stops instead) since `.grad` was last written, 0 when it was written since the previous
    step or its past is not known. `changed` (`|u1`) is 1 where `.grad` differs from the previous stop (by
    identity and version); `previous_norm` (`<f4`) is the norm at that stop, NaN where there is none. `pending`
    (`|u1`) is 1 where the running backward has yet to reach the parameter: its `.grad` is from before.
    """

    stop: int
    subjects: Column
    state: Column
    stale: Column
    changed: Column
    previous_norm: Column
    pending: Column
    stale_unit: Literal["steps", "stops"] = "steps"


@dataclass(frozen=True, slots=True)
class Variable:
    """A tensor, module or optimizer that the stopped frame reaches, by the expression that reaches it.

    For tensors: `grad_fn` is the node's name (None: a leaf, or no grad), `sequence` its sequence number (-1
    none), `parameter` the id of a leaf among the snapshot's parameters (-1 none), `number` the value of a
    one-element tensor on the CPU, as text ("2.31", "nan"). For modules and optimizers: `parameter_count`.
    """

    expression: str
    kind: VariableKind
    class_name: str
    shape: list[int] = field(default_factory=list[int])
    dtype: str = ""
    device: str = ""
    requires_grad: bool = False
    grad_fn: str | None = None
    sequence: int = -1
    parameter: int = -1
    parameter_count: int = 0
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of an answer that is not there: `done` of `total` units were read before `reason` ended it."""

    part: Literal["scope", "gradients", "histograms", "graph", "held", "values"]
    reason: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """A frame above the stopped one that reaches tensors with requires_grad: `depth` 1 is the caller."""

    depth: int
    function: str
    file: str
    line: int
    tensor_count: int


@dataclass(frozen=True, slots=True)
class Condition:
    """When to stop inside backward. Set from the panel, kept by the debuggee, gone with the process.

    `node`: the node at index `node` of the graph with digest `graph_digest`, or, in a graph of another
    structure, the node of the same name, module and line (`module` as "root.path", `line` as "file:line").
    `parameter`, `module`: when the gradient of that parameter, or of any output or parameter of that module,
    is computed. `norm exceeds`: the L2 norm of any gradient that reaches a node is above `limit`. `next node`
    stops once, at the next node that any thread runs. `hits` counts the stops it has made.
    """

    id: int
    kind: ConditionKind
    enabled: bool = True
    node: int = -1
    graph_digest: str = ""
    name: str = ""
    module: str = ""
    line: str = ""
    parameter: str = ""
    limit: float = 0.0
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorder that runs in the stopped process: `cost` is its measured share of the run's time."""

    path: str
    detail: Detail
    steps: int
    cost: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answer at a stop: gradients, graph and held memory of what the frame reaches.

    `root` indexes the variable whose graph `graph` is; -1 with `in_backward` means the graph of the running
    backward call, else that there is none. `graph`, `ledger` and `backward` are as in a session (`backward`
    is the call that has not been made, or the running one). `site_texts` holds the source line of each of
    `sites`, stripped ("" where it cannot be read). `cost_ms` is the time by part. With the state "nothing
    differentiable" `callers` names frames that have something.
    """

    state: SnapshotState
    run: Run
    stop: Stop
    variables: list[Variable] = field(default_factory=list[Variable])
    root: int = -1
    modules: list[Module] = field(default_factory=list[Module])
    parameters: list[Parameter] = field(default_factory=list[Parameter])
    states: GradientStates | None = None
    gradients: list[Gradients] = field(default_factory=list[Gradients])
    histograms: list[Histograms] = field(default_factory=list[Histograms])
    graph: Graph | None = None
    ledger: Ledger | None = None
    backward: Backward | None = None
    sites: list[Site] = field(default_factory=list[Site])
    site_texts: list[str] = field(default_factory=list[str])
    notices: list[Notice] = field(default_factory=list[Notice])
    missing: list[Missing] = field(default_factory=list[Missing])
    callers: list[Caller] = field(default_factory=list[Caller])
    conditions: list[Condition] = field(default_factory=list[Condition])
    recording: Recording | None = None
    cost_ms: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Subject:
    """Which tensor `values` asks for, among those of snapshot `stop`; one of the three is not -1.

    `role` names the saved tensor of a node, or is "" for the gradient that the running node was given
    (`position` counts them).
    """

    stop: int
    field: ValuesField
    parameter: int = -1
    variable: int = -1
    node: int = -1
    role: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class Values:
    """A window of a tensor: `rows` times `columns` values (`<f4`, row-major) of the last two dimensions.

    `index` fixes the leading dimensions; a vector is one row, a scalar one value. `first_nonfinite` is the
    full index of the first NaN or Inf where it was asked for and found in the budget, else None.
    """

    subject: Subject
    shape: list[int]
    dtype: str
    device: str
    index: list[int]
    row: int
    column: int
    rows: int
    columns: int
    values: Column
    first_nonfinite: list[int] | None = None
    missing: list[Missing] = field(default_factory=list[Missing])


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that could not be answered: what happened, and the way out in the message."""

    error: str
    message: str
    traceback: str = ""


Record = (
    Run
    | SourceFile
    | Sites
    | Modules
    | Parameters
    | ModuleOutputs
    | Graph
    | CompiledRegion
    | Ledger
    | Backward
    | Step
    | Gradients
    | Histograms
    | OptimizerStep
    | Held
    | Notice
    | Finish
    | Stop
    | GradientStates
    | Series
    | Totals
)

TOPICS: dict[str, type[Record]] = {
    "/run": Run,
    "/source": SourceFile,
    "/sites": Sites,
    "/modules": Modules,
    "/parameters": Parameters,
    "/outputs": ModuleOutputs,
    "/graphs": Graph,
    "/compiled": CompiledRegion,
    "/ledgers": Ledger,
    "/backward": Backward,
    "/steps": Step,
    "/gradients": Gradients,
    "/histograms": Histograms,
    "/optimizer": OptimizerStep,
    "/held": Held,
    "/notices": Notice,
    "/finish": Finish,
    "/stops": Stop,
    "/states": GradientStates,
    "/series": Series,
    "/totals": Totals,
}
"""One MCAP channel per record type: a reader of one never decompresses another. `Snapshot`, `Values` and
`Failure` are answers to a debugger and stand in no file; they travel as JSON, a Column's bytes in base64."""

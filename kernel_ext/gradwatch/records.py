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
TraceReason = Literal["first step", "unreached parameters", "non-finite values", "asked for"]
CutKind = Literal["detached", "data", "number", "numpy", "no_grad", "inference_mode", "not differentiable", "rebuilt"]
BirthPhase = Literal["forward", "backward"]
FaultKind = Literal["in-place", "second backward", "no gradient", "shape"]
ChangeKind = Literal["checkpoint", "bf16 saving", "save_on_cpu", "in-place activation", "fused attention"]
Severity = Literal["error", "warning", "note"]
Certainty = Literal["measured", "inferred", "estimated"]
FindingKind = Literal[
    "unreached",
    "stale",
    "zero gradient",
    "frozen",
    "not optimized",
    "replaced",
    "zeroed",
    "skipped",
    "reached",
    "nan",
    "inf",
    "underflow",
    "vanishing",
    "exploding",
    "dead units",
    "saturated",
    "update ratio",
    "noise",
    "drowned",
    "conflict",
    "held",
    "saved unused",
    "saved twice",
    "held long",
    "held by ctx",
    "what if",
    "retained graph",
    "in-place",
    "second backward",
    "out of memory",
]

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
class ModuleCalls:
    """The module calls of one step, one row per module called or known: written with the step's details.

    `modules` (`<i4`, ids), `calls` (`<u4`, 0: known and not called), `without_grad` (`<u4`, how many of them ran
    under no_grad or inference_mode), `training` (`|u1`, of the last call) and `forward_ns` (`<i8`, all calls
    together, modules inside included; on a device with a stream of its own the time on that stream, -1 not known).
    """

    step: int
    modules: Column
    calls: Column
    without_grad: Column
    training: Column
    forward_ns: Column


@dataclass(frozen=True, slots=True)
class ForeignParameter:
    """A tensor that an optimizer updates and no recorded module has.

    `like`: a parameter's id of the same shape and dtype that no optimizer has, -1 none: that one may have taken its
    place in the module.
    """

    shape: list[int]
    dtype: str
    like: int = -1


@dataclass(frozen=True, slots=True)
class OptimizerMembers:
    """Which parameters an optimizer updates (`parameters`, ids, `<u4`), as of `step`. Written anew when it changes."""

    step: int
    optimizer: int
    optimizer_class: str
    parameters: Column
    foreign: list[ForeignParameter] = field(default_factory=list[ForeignParameter])


@dataclass(frozen=True, slots=True)
class Cut:
    """An op of a traced step whose result lost the graph of what it was given.

    `op` is the function as the program called it ("Tensor.detach", "torch.argmax"), `parameters` the ids of those
    behind its inputs that no other path has carried further at that time, `reaches_loss` whether a
    value made from its result went into the root of a backward call (a number may have, unseen: then it is False and
    `kind` is "number" or "numpy"). `name` is the Python name of the input or the result, "" unknown. `count` is how
    often the same line did the same in the step.
    """

    kind: CutKind
    op: str
    site: int
    project_site: int
    module: int
    parameters: list[int]
    reaches_loss: bool
    name: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """A tensor of a traced step with a graph behind it that no backward call of the step went through.

    `node` is the name of its grad_fn, `op` the function that made it, `name` the Python name that held it at the end
    ("" none did), `saved_bytes` what that graph saved for a backward that did not come, storages counted once and
    those that a backward call freed left out, `used` how many ops were given it (0: its value went nowhere).
    """

    node: str
    op: str
    site: int
    project_site: int
    module: int
    parameters: list[int]
    name: str = ""
    saved_bytes: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """An op of a traced step that changed a tensor in place, or what `.grad` is (`op` "Tensor.grad.__set__").

    `name` is the Python name of what it wrote to, `parameters` the ids of leaves it wrote to or whose `.grad` it
    wrote to, `phase` when: before, in or after the step's backward calls.
    """

    op: str
    site: int
    project_site: int
    module: int
    phase: Literal["forward", "backward", "update"]
    name: str = ""
    parameters: list[int] = field(default_factory=list[int])
    count: int = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """One step whose every op was seen as the program called it (a TorchFunctionMode; never beside torch.compile).

    `truncated` says that there were more ops than are followed. `uses` (`<u4`, one per id in `used_parameters`,
    `<u4`) counts the ops that were given a parameter itself. `graph` is the id of the last backward call's graph, and
    `node_site` / `node_project_site` (`<i4`, one per its nodes, -1 unknown) the lines of the ops themselves, also
    where Python is too old for the line clock.
    """

    step: int
    reason: TraceReason
    op_count: int
    truncated: bool
    used_parameters: Column
    uses: Column
    cuts: list[Cut] = field(default_factory=list[Cut])
    dead_ends: list[DeadEnd] = field(default_factory=list[DeadEnd])
    writes: list[Write] = field(default_factory=list[Write])
    graph: int = -1
    node_site: Column | None = None
    node_project_site: Column | None = None


@dataclass(frozen=True, slots=True)
class Activations:
    """Statistics of module outputs in the forward, as Gradients has them: `subjects` (`<u4`) are output ids.

    Written for every step in which one is not finite, else with the step's details. Rows stand in call order.
    """

    step: int
    subjects: Column
    columns: dict[str, Column]


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor at the birth of a non-finite value, as it was read then.

    `role` as in a Ledger, or "grad output", "grad input", "input", "result". `facts` holds counts that a cause needs
    ("rows all -inf", "unselected zeros", ...).
    """

    role: str
    shape: list[int]
    dtype: str
    count: int
    zeros: int
    nan: int
    inf: int
    min: float
    max: float
    facts: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a NaN, an Inf or an underflow began: an op that was given finite values and did not return them.

    `node` is its index in `graph`, -1 where it is not known; `op` its node's name without "Backward0", or the module's
    class. `exact` says that inputs and result of this one op were both looked at; else it lies between the last
    finite and the first non-finite value seen, and `site` is the nearest line. `path` are nodes of the graph
    that had it afterwards in the order they got it, `healed` those that turned it finite again, `parameters` ids of
    those it reached, `source` what was bad already where nothing was born: "input", "parameter", "seed", or "".
    """

    step: int
    backward: int
    phase: BirthPhase
    nan: int
    inf: int
    graph: int
    node: int
    op: str
    module: int
    site: int
    project_site: int
    exact: bool
    source: Literal["", "input", "parameter", "seed"] = ""
    operands: list[Operand] = field(default_factory=list[Operand])
    path: list[int] = field(default_factory=list[int])
    healed: list[int] = field(default_factory=list[int])
    parameters: list[int] = field(default_factory=list[int])
    name: str = ""


EARLIER_CALLS = -2


@dataclass(frozen=True, slots=True)
class FanIn:
    """The gradients that meet at one node output, before the engine adds them up. Of one backward call.

    One entry per gradient that arrives: `source` (node index), `norm` (L2), `share` (its projection on the sum, over
    the sum's squared norm: shares add up to 1) and, in `cosine`, its cosine with each one after it
    (entry 0 with 1, 0 with 2, ..., 1 with 2, ...). Source EARLIER_CALLS at a leaf stands for the sum of what earlier
    backward calls of the same step brought there: micro-batch against micro-batch.
    """

    node: int
    input_nr: int
    sources: list[int]
    norms: list[float]
    shares: list[float]
    cosines: list[float]


@dataclass(frozen=True, slots=True)
class Passage:
    """The gradient on both sides of one activation (sigmoid, tanh, softmax), of one backward call.

    `arrived` is the L2 norm of the gradient of its result, `passed` that of its input, `lost` the share, of
    the elements whose gradient arrived, that kept a twentieth of it at most, `width` the size of its last dimension.
    """

    node: int
    arrived: float
    passed: float
    lost: float
    width: int


@dataclass(frozen=True, slots=True)
class FanIns:
    """Fan-ins and activations of one backward call that were measured; nodes are indices in `graph`."""

    step: int
    backward: int
    graph: int
    fan_ins: list[FanIn]
    passages: list[Passage] = field(default_factory=list[Passage])


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """Signal and noise of parameters' gradients over the `window` steps that end at `step`.

    Of `sampled` elements of each (`subjects`, ids, `<u4`): `signal` (`<f4`) is the squared norm of their mean gradient
    without its noise, `noise` (`<f4`) the summed variance, both scaled to the whole parameter (McCandlish et al.
    2018, "An Empirical Model of Large-Batch Training", appendix A). `silent` (`<u4`) counts those of the `sampled`
    (`<u4`) that were 0 in every step of the window: the same elements, so that of a bias they are dead units.
    """

    step: int
    window: int
    subjects: Column
    signal: Column
    noise: Column
    sampled: Column | None = None
    silent: Column | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps something alive.

    `chain` goes from a name that a person knows down to the tensor ("trainer.losses[37]"), `kind` is what that name is
    of, `site` where it stands, `count` how many tensors are held this way.
    """

    chain: str
    kind: Literal[
        "local", "global", "closure", "attribute", "Out", "traceback", "hook", "cycle", "optimizer", "module", "unknown"
    ]
    site: int = -1
    count: int = 1


@dataclass(frozen=True, slots=True)
class Retained:
    """Graphs of past steps that are still alive: `graphs` of them, of steps `made` (ascending, at most 64).

    `held_bytes` is what they saved and have not released, `node_count` their nodes (walked up to a limit), `site`
    the line that made their roots (-1 unknown), `name` what the root was called.
    """

    step: int
    graphs: int
    made: list[int]
    held_bytes: int
    node_count: int
    op: str
    site: int
    project_site: int
    holders: list[Holder] = field(default_factory=list[Holder])
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that autograd raised, or will raise, with both lines that it takes.

    in-place: `site` saved the tensor for `op`, `other_site` overwrote it (`other_op`) before backward used it.
    second backward: `site` called backward() first and freed the graph, `other_site` the second time; `op` is where
    the second stopped. `name` is the tensor's Python name; `raised` is False where it was seen before the error.
    """

    step: int
    backward: int
    kind: FaultKind
    op: str
    site: int
    project_site: int
    other_op: str
    other_site: int
    other_project_site: int
    module: int = -1
    graph: int = -1
    node: int = -1
    name: str = ""
    role: str = ""
    raised: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """A device, or the host, had no memory left: what was held at that instant. Bytes; -1 not known.

    `graph` / `ledger` / `class_bytes` are of the graph that was alive, as in Backward. `requested_bytes` is
    what the failing op asked for, `free_in_pool` what the allocator held without being able to give it in one piece.
    """

    step: int
    phase: BirthPhase
    device: str
    message: str
    op: str
    module: int
    site: int
    project_site: int
    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    total_bytes: int
    free_in_pool: int
    graph: int = -1
    ledger: int = -1
    held_bytes: int = -1
    class_bytes: list[int] = field(default_factory=list[int])
    parameter_bytes: int = -1
    gradient_bytes: int = -1
    optimizer_bytes: int = -1


@dataclass(frozen=True, slots=True)
class Copies:
    """Saved tensors of one backward call that hold the same data in different storages.

    `first` and `second` (`<i4`) are rows of the ledger, pair by pair. `compared` is False where their statistics alone
    were found the same.
    """

    step: int
    backward: int
    graph: int
    ledger: int
    first: Column
    second: Column
    compared: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """One change that was tried for real: the step before it and the one with it, measured in one run.

    `target` names modules ("blocks.*"). `peak` is what backward found held, `forward_ns` and `step_ns` times;
    `same_gradients` says whether they came out the same, None where the batches differed.
    """

    change: ChangeKind
    target: str
    modules: list[int]
    before_step: int
    after_step: int
    before_peak: int
    after_peak: int
    before_step_ns: int
    after_step_ns: int
    same_gradients: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer: what is wrong, where, why, and what to do. Ids are those of the session (or snapshot) it is of.

    `title` is a few words ("NaN born in sqrt"), `sentence` one sentence with the values, `fix` what to do ("" where
    nothing need be done). `site` is the line at fault, `other_site` the second line where it takes two, `name` the
    Python name at fault, `cause` the class within its kind ("never called", "masked where", ...). `steps` are first
    and last step it was seen in. `evidence` are the readings it rests on, one a line; `certainty` says how it
    is known. `bytes` is what it holds, or would free.
    """

    kind: FindingKind
    severity: Severity
    title: str
    sentence: str
    cause: str = ""
    fix: str = ""
    steps: list[int] = field(default_factory=list[int])
    backward: int = -1
    graph: int = -1
    nodes: list[int] = field(default_factory=list[int])
    parameters: list[int] = field(default_factory=list[int])
    modules: list[int] = field(default_factory=list[int])
    site: int = -1
    other_site: int = -1
    name: str = ""
    bytes: int = -1
    evidence: list[str] = field(default_factory=list[str])
    certainty: Certainty = "measured"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in this session when it was closed. A reader in Python finds anew; one without takes these."""

    findings: list[Finding]


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
    regions: list[CompiledRegion] = field(default_factory=list[CompiledRegion])
    findings: list[Finding] = field(default_factory=list[Finding])
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
    | ModuleCalls
    | OptimizerMembers
    | Trace
    | Activations
    | Birth
    | FanIns
    | GradientNoise
    | Retained
    | Fault
    | OutOfMemory
    | Copies
    | Trial
    | Findings
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
    "/calls": ModuleCalls,
    "/members": OptimizerMembers,
    "/traces": Trace,
    "/activations": Activations,
    "/births": Birth,
    "/fan_ins": FanIns,
    "/noise": GradientNoise,
    "/retained": Retained,
    "/faults": Fault,
    "/out_of_memory": OutOfMemory,
    "/copies": Copies,
    "/trials": Trial,
    "/findings": Findings,
}
"""One MCAP channel per record type: a reader of one never decompresses another. `Snapshot`, `Values` and
`Failure` are answers to a debugger and stand in no file; they travel as JSON, a Column's bytes in base64."""

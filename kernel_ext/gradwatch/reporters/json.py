"""Reports as JSON, and the documentation of their shape.

Every report is one object: `Report`'s fields, then the fields of its own kind below. The same values
stand in the terminal's tables. Numbers keep full precision; bytes are integers, times are seconds,
fractions are of 1. JSON has no NaN, so a number that is not finite is the string "nan", "inf" or
"-inf". null is a value that was not recorded. Fields may be added; `version` is raised when one
changes its meaning or goes.

The shape of a finding stands in findings_json.py, those of `gradwatch diff` in diff_json.py, that of
`gradwatch replay` in gradwatch.replay.
"""

from __future__ import annotations

import json
import math
from typing import Literal, TypedDict, cast

from gradwatch.records import (
    Call,  # noqa: TC001 -- the shapes can be read at run time, by get_type_hints
    CurveSource,  # noqa: TC001 -- as above
    Detail,  # noqa: TC001 -- as above
    NoticeKind,  # noqa: TC001 -- as above
    ReleaseSource,  # noqa: TC001 -- as above
    StepSource,  # noqa: TC001 -- as above
    SubjectKind,  # noqa: TC001 -- as above
)
from gradwatch.reporters.findings_json import (
    FindingRow,  # noqa: TC001 -- as above
    Place,  # noqa: TC001 -- as above
)
from gradwatch.reporters.glyphs import State  # noqa: TC001 -- as above

REPORT_FORMAT = "gradwatch.report"
REPORT_VERSION = 1

HeldKey = Literal["module", "line", "op", "node", "dtype", "class", "role", "device"]

Sort = Literal["model", "name", "norm", "zeros", "update", "trouble"]


class SessionHead(TypedDict):
    """The run that was recorded. `cost_seconds` is what gradwatch's own code took on the program's threads."""

    path: str
    gradwatch_version: str
    format_version: int
    detail: Detail
    started: str  # ISO 8601, UTC
    hostname: str
    pid: int
    rank: int
    world_size: int
    argv: list[str]
    working_directory: str
    python_version: str
    torch_version: str
    cuda_version: str | None
    devices: list[str]
    git_revision: str | None
    git_dirty: bool | None
    line_source: Literal["line clock", "module calls"]
    steps: int
    first_step: int | None
    last_step: int | None
    step_source: StepSource | None
    duration_seconds: float
    cost_seconds: float
    cost_fraction: float | None
    finish_reason: str | None  # null: the recording was not closed
    gaps: int  # parts of the file that could not be read


class Report(TypedDict):
    """What every report begins with."""

    format: str
    version: int
    command: Literal["show", "gradients", "held", "graph", "why"]
    session: SessionHead


class Series(TypedDict):
    """One value per step."""

    steps: list[int]
    values: list[float | None]


class GradientRow(TypedDict):
    """The gradient of one parameter, module output or node at one step.

    `min`, `max`, `mean` and `norm` (L2) are over finite elements. `state` is the worst that an element
    is; "None" where no gradient was recorded at this step. `norms` goes with the report's `steps`.
    """

    name: str
    kind: SubjectKind
    shape: list[int] | None
    dtype: str | None
    state: State
    norm: float | None
    min: float | None
    max: float | None
    mean: float | None
    abs_max: float | None
    count: int | None
    zeros: int | None
    nan: int | None
    inf: int | None
    subnormals: int | None
    zero_fraction: float | None
    parameter_norm: float | None
    update_ratio: float | None
    norms: list[float | None]


class HeldRow(TypedDict):
    """Bytes held for backward under one label; `fraction` is of the total."""

    label: str
    bytes: int
    fraction: float
    place: Place | None


class HeldRows(TypedDict):
    """The bytes held when the call began, split by `key`, largest first; by class, those of all classes."""

    key: HeldKey
    rows: list[HeldRow]


class HeldSummary(TypedDict):
    """What one backward call held.

    `total_bytes` when the call began, and `peak_bytes`, count activations, inputs and what is not
    observable; `class_bytes` has all classes. `unobserved` says why something is not known.
    """

    step: int
    backward: int
    call: Call
    total_bytes: int
    peak_bytes: int | None
    class_bytes: dict[str, int]
    curve_source: CurveSource | None
    release_source: ReleaseSource | None
    unobserved: str | None
    by: list[HeldRows]


class SavedTensor(TypedDict):
    """A tensor that a node saved for backward. `storage_bytes` is what stays allocated for it."""

    role: str
    shape: list[int]
    dtype: str
    bytes: int
    storage: int
    storage_bytes: int
    tensor_class: str
    device: str
    recomputed: bool
    place: Place | None


class Output(TypedDict):
    """A node's output in forward."""

    shape: list[int]
    dtype: str


class NodeRow(TypedDict):
    """A node of the autograd graph.

    `saved_bytes` counts each storage once, at its first saver, and of the classes that held memory counts:
    not parameters, buffers and optimizer state, which would be allocated anyway. `label` says why the inside of
    the node is not observable, or what is special about it; `region` which of the report's `regions` it opens into.
    """

    index: int
    name: str
    module: str | None
    parameter: str | None
    in_backward: bool
    label: str | None
    label_text: str | None
    region: int | None
    saved_bytes: int
    place: Place | None
    outputs: list[Output]
    saved: list[SavedTensor]


class RegionOp(TypedDict):
    """An op of a compiled region, or an input of its forward or backward (`target` "input").

    A size of `shape` that is symbolic is -1. `forward_op` is the op of the forward that it repeats (`recomputed`), or
    whose saved result it is given; `uses` are the ops whose results it takes. Both are `index`es.
    """

    index: int
    name: str
    target: str
    phase: Literal["forward", "backward"]
    module: str | None
    place: Place | None
    shape: list[int] | None
    dtype: str | None
    saved: bool
    recomputed: bool
    forward_op: int | None
    uses: list[int]


class RegionLine(TypedDict):
    """What a line of the user's became in a compiled region: counts of ops, and names of those saved or recomputed."""

    place: Place | None
    forward_ops: int
    backward_ops: int
    saved: list[str]
    recomputed: list[str]


class RegionRow(TypedDict):
    """The graphs that AOTAutograd made of one compiled forward. Counts are without inputs, but for `saved`."""

    region: int
    name: str
    backend: str
    forward_ops: int
    backward_ops: int
    saved: int
    recomputed: int
    lines: list[RegionLine]
    ops: list[RegionOp]


class EdgeRow(TypedDict):
    """Gradient flows from `source`, along entry `slot` of its next_functions, to input `input_nr` of `target`."""

    source: int
    target: int
    slot: int
    input_nr: int


class SaverRow(TypedDict):
    """Nodes of one name, made at one line in modules that differ in nothing but an index (written *)."""

    name: str
    module: str | None
    nodes: int
    saved_bytes: int
    place: Place | None


class GraphSummary(TypedDict):
    """The graph of one backward call: structure number `variant`, from 0, of the session's `variants`.

    `model` is the name of the model's outermost module, where there is one model. `largest` are the nodes
    that save most, up to five.
    """

    step: int
    backward: int
    variant: int
    variants: int
    model: str | None
    node_count: int
    edge_count: int
    saved_bytes: int
    roots: list[int]
    largest: list[SaverRow]


class NoticeRow(TypedDict):
    """Something that could not be seen, or a probe that stopped. `count`: how often it was said."""

    kind: NoticeKind
    text: str
    step: int | None
    probe: str | None
    count: int


class ShowReport(Report):
    """`gradwatch show --json`."""

    findings: list[FindingRow]
    step: int | None
    steps: list[int]
    loss: Series
    loss_scale: Series  # what a GradScaler multiplied the loss with: empty where none did
    skipped_steps: list[int]  # it found NaN or Inf: the parameters stayed as they were
    gradient_norm: Series
    gradients: list[GradientRow]
    held: HeldSummary | None
    graph: GraphSummary | None
    notices: list[NoticeRow]


class GradientsReport(Report):
    """`gradwatch gradients --json`."""

    step: int
    kind: SubjectKind
    only_trouble: bool
    steps: list[int]
    gradients: list[GradientRow]


class HeldReport(Report):
    """`gradwatch held --json`."""

    held: HeldSummary


class GraphReport(Report):
    """`gradwatch graph --json`."""

    graph: GraphSummary
    nodes: list[NodeRow]
    edges: list[EdgeRow]
    regions: list[RegionRow]  # what compiled nodes open into


class WhyReport(Report):
    """`gradwatch why --json`. `name` is the parameter or module that was asked of, null: the whole session."""

    name: str | None
    step: int | None
    findings: list[FindingRow]


def dumps(report: Report) -> str:
    """Spell a report as JSON text that ends in a newline."""
    return json.dumps(_spell(report), allow_nan=False, ensure_ascii=False) + "\n"


def _spell(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {name: _spell(field) for name, field in fields.items()}
    if isinstance(value, list):
        return [_spell(entry) for entry in cast("list[object]", value)]
    return value

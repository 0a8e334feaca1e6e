"""The shapes of `gradwatch diff --json`: of two sessions (DiffReport), or of the ranks in folders (RanksReport).

Spelled as the other reports are (json.py): a number that is not finite is the string "nan", "inf" or "-inf",
null is what is not known, bytes are integers.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from gradwatch.records import (
    Detail,  # noqa: TC001 -- the shapes can be read at run time, by get_type_hints
    SubjectKind,  # noqa: TC001 -- as above
)
from gradwatch.reporters.json import Place  # noqa: TC001 -- as above

DIFF_VERSION = 1


class DiffSession(TypedDict):
    """One of the two sessions."""

    path: str
    gradwatch_version: str
    detail: Detail
    started: str  # ISO 8601, UTC
    argv: list[str]
    rank: int
    world_size: int
    torch_version: str
    devices: list[str]
    git_revision: str | None
    git_dirty: bool | None
    steps: int
    first_step: int | None
    last_step: int | None
    finish_reason: str | None  # null: the recording was not closed
    gaps: int  # parts of the file that could not be read


class DiffTolerance(TypedDict):
    """What counts as the same: the measure is `gradwatch.session.compare_tolerance.Tolerance`. 0 and 0: exactly."""

    rtol: float
    atol: float


class StepPairRow(TypedDict):
    """A step of the first session and the one of the second that it was compared with."""

    a: int
    b: int


class OnlyRow(TypedDict):
    """What one session alone has. A session may be longer: `steps` do not count as a difference."""

    parameters: list[str]
    modules: list[str]
    steps: list[int]


class ComparedRow(TypedDict):
    """How much was compared: pairs of steps, and rows of statistics by kind. 0 means that nothing of it was."""

    steps: int
    parameter: int
    module: int
    node: int


class GapRow(TypedDict):
    """One statistic in both. `relative` is the distance by the statistic's scale; "inf" where that is 0."""

    statistic: str
    a: float
    b: float
    relative: float
    parts: bool


class DiffNode(TypedDict):
    """A node of an autograd graph, as one of the sessions has it."""

    index: int
    name: str
    module: str | None
    parameter: str | None
    place: Place | None


class NodePartingRow(TypedDict):
    """Where a node stands in both graphs, and the nodes that gave it its gradient.

    `same_givers`: they are the same nodes in both. `givers_agree`: they are, and no difference is seen in what
    they were given; then what they saved, or computed from it, differs.
    """

    a: DiffNode
    b: DiffNode
    givers_a: list[DiffNode]
    givers_b: list[DiffNode]
    same_givers: bool
    givers_agree: bool


class PartingRow(TypedDict):
    """A gradient that parts. `only` names the session that has it, where the other has none.

    `gaps` has every statistic, those that part first; of a node they are of the gradient of its outputs.
    """

    kind: SubjectKind
    backward: int
    name: str
    name_b: str
    relative: float
    only: Literal["a", "b"] | None
    gaps: list[GapRow]
    node: NodePartingRow | None


class GradientPartingRow(TypedDict):
    """The first pair of steps whose gradients part: `first`, and every one that does, as backward reaches them."""

    step: int
    step_b: int
    first: PartingRow
    nodes: list[PartingRow]
    modules: list[PartingRow]
    parameters: list[PartingRow]


class LossPartingRow(TypedDict):
    """The first pair of steps whose losses part."""

    step: int
    step_b: int
    a: float
    b: float
    relative: float


class DiffCurves(TypedDict):
    """Both sessions over the compared steps, thinned to CURVE_POINTS; of a stretch the step that differs most.

    `difference` is the largest relative gap of any statistic of any parameter.
    """

    steps: list[int]
    steps_b: list[int]
    loss_a: list[float | None]
    loss_b: list[float | None]
    norm_a: list[float | None]
    norm_b: list[float | None]
    difference: list[float | None]
    held_a: list[int | None]
    held_b: list[int | None]


class HeldChangeRow(TypedDict):
    """Bytes under one label in both: null and 0 where one has nothing there. `delta` is b - a."""

    label_a: str | None
    label_b: str | None
    bytes_a: int
    bytes_b: int
    delta: int
    text: str | None


class HeldDiff(TypedDict):
    """What one backward call held when it began, in both; the rows with the largest change first."""

    step: int
    step_b: int
    backward: int
    total_a: int
    total_b: int
    peak_a: int | None
    peak_b: int | None
    by_line: list[HeldChangeRow]
    by_module: list[HeldChangeRow]


class ChangedNodeRow(TypedDict):
    """A node that both graphs have, and what of it is another: its source line, its next functions ("inputs")."""

    a: DiffNode
    b: DiffNode
    what: list[str]


class GraphDiff(TypedDict):
    """The first graphs of one backward call that differ."""

    step: int
    step_b: int
    backward: int
    nodes_a: int
    nodes_b: int
    only_a: list[DiffNode]
    only_b: list[DiffNode]
    changed: list[ChangedNodeRow]


class DiffReport(TypedDict):
    """`gradwatch diff A B --json`, of two sessions or two steps of one.

    `parts` is the answer: the exit code is 1 where it is true, else 0. It holds where losses or gradients part,
    or one session alone has a parameter. Other lengths, graphs and held memory are told, and do not count.
    Statistics are compared, not values: `parts` false says that no difference is seen in the statistics. Lists of
    partings and nodes end after `gradwatch.session.compare_result.MOST_LISTED`; `notes` say how many are left out.
    """

    format: str
    version: int
    command: Literal["diff"]
    parts: bool
    a: DiffSession
    b: DiffSession
    tolerance: DiffTolerance
    compared: ComparedRow
    first_steps: StepPairRow
    last_steps: StepPairRow
    gradients: GradientPartingRow | None
    loss: LossPartingRow | None
    curves: DiffCurves
    held: HeldDiff | None
    graph: GraphDiff | None
    only_a: OnlyRow
    only_b: OnlyRow
    notes: list[str]


class RankRow(TypedDict):
    """A pair of ranks. `step` is the first at which gradients or losses part, by the first session's numbers.

    `gradients` and `loss` say what parts there; both are null, and `parts` true, where one alone has a parameter.
    `parts` is null where the two could not be compared: `error` says why.
    """

    rank: int
    rank_b: int
    path: str
    path_b: str
    parts: bool | None
    step: int | None
    step_b: int | None
    gradients: PartingRow | None
    loss: LossPartingRow | None
    compared: ComparedRow | None
    error: str | None


class LocalRow(TypedDict):
    """What a rank's own gradients were before reduction, in `calls` backward calls that have any.

    The others say where one was first NaN or Inf: the first parameter that backward met so; null where all were
    finite. `first`: it was so in the earliest call that any rank was, where another rank's were finite.
    """

    rank: int
    path: str
    calls: int
    step: int | None
    backward: int | None
    name: str | None
    nan: int | None
    inf: int | None
    first: bool


class UnreadableRow(TypedDict):
    """A session file that cannot be opened, and why."""

    path: str
    reason: str


class RanksReport(TypedDict):
    """`gradwatch diff FOLDER [FOLDER] --json`: ranks paired by number; of one folder each with its lowest (`b` null).

    `parts`: some pair does (exit code 1). `complete`: every pair was compared and every file opened; else the exit
    code is 2 where none parts. Ranks of one folder see different data, so that only their parameters are compared.
    `first` is the whole comparison of the pair that parts first. Of those that part at one step it is one whose own
    nodes, module outputs or loss do, where there is one: averaging hands a difference on to the others' parameters.
    `only_a` and `only_b` are ranks of one folder alone: told, and not counted. `local`, of one folder: each rank's
    own gradients before reduction; `parts` is true as well where those of some rank alone stopped being finite.
    """

    format: str
    version: int
    command: Literal["diff"]
    parts: bool
    complete: bool
    a: str
    b: str | None
    tolerance: DiffTolerance
    ranks: list[RankRow]
    first: DiffReport | None
    local: list[LocalRow]
    only_a: list[int]
    only_b: list[int]
    unreadable: list[UnreadableRow]

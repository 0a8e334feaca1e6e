"""Session -> the gradient tables of the reports: one row a parameter, module output or node, and its curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import STATISTIC_DTYPES, OptimizerStep
from gradwatch.reporters.glyphs import STATES, State, worst
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from gradwatch.records import SubjectKind
    from gradwatch.reporters.json import GradientRow, Series, Sort
    from gradwatch.session.gradients import GradientRows
    from gradwatch.session.session import Session

CURVE_POINTS = 120
"""Steps that a curve shows at most; a value that is not finite always stays."""

_COUNTS = {name for name, dtype in STATISTIC_DTYPES.items() if dtype == "<u8"}

SORTS: dict[Sort, Callable[[GradientRow], Any]] = {
    "model": lambda _: 0,
    "name": lambda row: row["name"],
    "norm": lambda row: -_for_sorting(row["norm"]),
    "zeros": lambda row: -_for_sorting(row["zero_fraction"]),
    "update": lambda row: -_for_sorting(row["update_ratio"]),
    "trouble": lambda row: -STATES.index(row["state"]),
}


@dataclass(frozen=True)
class GradientTable:
    """Rows at one step; `steps` are those of the rows' curves, `total` is the norm over all rows' gradients."""

    rows: list[GradientRow]
    steps: list[int]
    total: Series


class Curves:
    """Values over all steps of a session, one row a subject, thinned to CURVE_POINTS.

    A point stands for a stretch of steps: it is the stretch's last value, or one that is not finite.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = np.asarray(numbers, dtype=np.int64)
        points = min(len(numbers), CURVE_POINTS)
        ends = [round((index + 1) * len(numbers) / points) for index in range(points)]
        self.steps = [int(self._numbers[end - 1]) for end in ends]
        self._values = np.zeros((0, points))
        self._seen = np.zeros((0, points), dtype=bool)
        self._row_of: dict[int, int] = {}
        self._last: tuple[bytes, NDArray[np.int64]] = b"", np.empty(0, np.int64)

    def add(self, step: int, subjects: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take in the values of some subjects at a step; steps come in order."""
        rows = self._rows(subjects)
        point = int(np.searchsorted(self.steps, step))
        if point == len(self.steps):
            return
        fresh = np.isfinite(self._values[rows, point])
        self._values[rows[fresh], point] = values[fresh]
        self._seen[rows, point] = True

    def of(self, subject: int) -> list[float | None]:
        row = self._row_of.get(subject)
        if row is None:
            return [None] * len(self.steps)
        pairs = zip(self._values[row].tolist(), self._seen[row].tolist(), strict=True)
        return [value if seen else None for value, seen in pairs]

    def _rows(self, subjects: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the subjects stand: mostly they are those of the step before. A file may number them anyhow."""
        key = subjects.tobytes()
        if key != self._last[0]:
            rows = [self._row_of.setdefault(subject, len(self._row_of)) for subject in subjects.tolist()]
            self._last = key, np.array(rows, dtype=np.int64)
            self._make_room(len(self._row_of))
        return self._last[1]

    def _make_room(self, count: int) -> None:
        missing = max(0, count - len(self._values))
        self._values = np.pad(self._values, ((0, missing), (0, 0)))
        self._seen = np.pad(self._seen, ((0, missing), (0, 0)))


def gradient_table(session: Session, step: int, kind: SubjectKind, backward: int | None = None) -> GradientTable:
    """Every subject of `kind` in model order, as it was at `step`, or behind one backward call of it.

    Raises UsageError for an unknown step.
    """
    at_step = session.gradients_at(step, kind, micro_batches=backward is not None)
    if backward is not None:
        at_step = at_step.of_backward(backward)
    rows = _parameter_rows(session, at_step, _updates(session, step)) if kind == "parameter" else _rows(at_step)
    if kind == "module":
        rows.reverse()  # gradients are recorded as they come, from the loss back: the model's order is the other way
    elif kind == "local":
        rows.sort(key=lambda row: row[0])
    numbers = [view.number for view in session.steps]
    curves, total = Curves(numbers), Curves(numbers)
    if kind != "node":
        _draw(session.gradient_records(kind), curves, total)
        for subject, row in rows:
            row["norms"] = curves.of(subject)
    return GradientTable([row for _, row in rows], curves.steps, {"steps": curves.steps, "values": total.of(0)})


def trouble_only(rows: Sequence[GradientRow]) -> list[GradientRow]:
    return [row for row in rows if row["state"] != "finite"]


def grouped(rows: Sequence[GradientRow], limit: int) -> list[list[GradientRow]]:
    """Put rows together by the longest first part of their dotted names that leaves at most `limit` groups.

    Neighbours only, so the model's order stays. Where even the first name leaves more, rows stay single.
    """
    if len(rows) <= limit:
        return [[row] for row in rows]
    for depth in range(max(row["name"].count(".") for row in rows), 0, -1):
        groups = [list(group) for _, group in groupby(rows, lambda row: row["name"].split(".")[:depth])]  # noqa: B023 -- used at once
        if len(groups) <= limit:
            return groups
    return [[row] for row in rows]


def merged(name: str, rows: Sequence[GradientRow]) -> GradientRow:
    """Make one row that stands for several: norms add in squares, extremes are the extremes, the worst state."""
    count, zeros = _sum(row["count"] for row in rows), _sum(row["zeros"] for row in rows)
    return {
        "name": name,
        "kind": rows[0]["kind"],
        "shape": None,
        "dtype": None,
        "state": worst(row["state"] for row in rows),
        "norm": _root_of_squares([row["norm"] for row in rows]),
        "min": min((row["min"] for row in rows if row["min"] is not None), default=None),
        "max": max((row["max"] for row in rows if row["max"] is not None), default=None),
        "mean": None,
        "abs_max": max((row["abs_max"] for row in rows if row["abs_max"] is not None), default=None),
        "count": count,
        "zeros": zeros,
        "nan": _sum(row["nan"] for row in rows),
        "inf": _sum(row["inf"] for row in rows),
        "subnormals": _sum(row["subnormals"] for row in rows),
        "zero_fraction": zeros / count if count and zeros is not None else None,
        "parameter_norm": _root_of_squares([row["parameter_norm"] for row in rows]),
        "update_ratio": _merged_ratio(rows),
        "norms": [_root_of_squares(values) for values in zip(*(row["norms"] for row in rows), strict=True)],
    }


def common_prefix(rows: Sequence[GradientRow]) -> str:
    """Return the dotted name that the names of all `rows` begin with."""
    parts = [row["name"].split(".") for row in rows]
    common = 0
    while all(len(part) > common and part[common : common + 1] == parts[0][common : common + 1] for part in parts):
        common += 1
    return ".".join(parts[0][:common])


def _parameter_rows(
    session: Session, at_step: GradientRows, updates: dict[int, tuple[float, float]]
) -> list[tuple[int, GradientRow]]:
    """All parameters of the session, those without a gradient at this step too."""
    reached = {row["name"]: row for _, row in _rows(at_step)}
    rows: list[tuple[int, GradientRow]] = []
    for parameter in session.parameters:
        row = reached.get(parameter.name) or _row(parameter.name, "parameter", None)
        row["shape"], row["dtype"] = list(parameter.shape), parameter.dtype
        row["parameter_norm"], row["update_ratio"] = updates.get(parameter.id, (None, None))
        rows.append((parameter.id, row))
    return rows


def _updates(session: Session, step: int) -> dict[int, tuple[float, float]]:
    """Norm before the step, and update ratio, of each parameter that an optimizer updated in this step."""
    found: dict[int, tuple[float, float]] = {}
    for record in session.reader.records_of_step(OptimizerStep, step):
        if {"parameter_norm", "update_ratio"} <= set(record.columns):
            subjects = as_array(record.subjects, session.path).tolist()
            columns = (record.columns["parameter_norm"], record.columns["update_ratio"])
            norms, ratios = (as_array(column, session.path, len(subjects)).tolist() for column in columns)
            found |= dict(zip(subjects, zip(norms, ratios, strict=True), strict=True))
    return found


def _rows(at_step: GradientRows) -> list[tuple[int, GradientRow]]:
    names = _node_names(at_step) if at_step.kind == "node" else at_step.names
    return [
        (subject, _row(name, at_step.kind, at_step.row(position)))
        for position, (subject, name) in enumerate(zip(at_step.subjects.tolist(), names, strict=True))
    ]


def _node_names(at_step: GradientRows) -> list[str]:
    """Tell nodes of one name apart by their index in the graph: `MulBackward0 #2`, `MulBackward0 #2 of call 1`."""
    calls = at_step.backward.tolist()
    several = len(set(calls)) > 1
    return [
        f"{name} #{node}{f' of call {call}' if several else ''}"
        for name, node, call in zip(at_step.names, at_step.subjects.tolist(), calls, strict=True)
    ]


def _norm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """L2 norm, (1,): by the largest finite value, whose square may be beyond what a number holds."""
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0) or 1.0
    return largest * np.sqrt(np.sum((values / largest) ** 2, keepdims=True))


def _draw(records: Iterable[GradientRows], curves: Curves, total: Curves) -> None:
    """Draw every subject's norm, and that of all together: of several backward calls in a step the last counts."""
    for step, calls in groupby(records, lambda rows: rows.step):
        last: dict[int, float] = {}
        for rows in calls:
            norms = np.where(rows.nan > 0, np.nan, np.where(rows.inf > 0, np.inf, rows.norm))
            last |= dict(zip(rows.subjects.tolist(), norms.tolist(), strict=True))
        values = np.array(list(last.values()), dtype=np.float64)
        curves.add(step, np.array(list(last), dtype=np.int64), values)
        total.add(step, np.zeros(1, dtype=np.int64), _norm(values))


def _row(name: str, kind: SubjectKind, seen: dict[str, Any] | None) -> GradientRow:
    of = {name: value for name, value in (seen or {}).items() if name not in _COUNTS or value >= 0}
    count, zeros = of.get("count"), of.get("zeros")
    lowest, highest = _known(of.get("min")), _known(of.get("max"))
    return {
        "name": name,
        "kind": kind,
        "shape": None,
        "dtype": None,
        "state": _state(seen),
        "norm": math.nan if count and lowest is None else of.get("l2"),  # nothing finite to take a norm of
        "min": lowest,
        "max": highest,
        "mean": _known(of.get("mean")),
        "abs_max": None if lowest is None or highest is None else max(abs(lowest), abs(highest)),
        "count": count,
        "zeros": zeros,
        "nan": of.get("nan"),
        "inf": of.get("inf"),
        "subnormals": of.get("subnormals"),
        "zero_fraction": zeros / count if count and zeros is not None else None,
        "parameter_norm": None,
        "update_ratio": None,
        "norms": [],
    }


def _state(seen: dict[str, Any] | None) -> State:
    if seen is None:
        return "None"
    if seen["nan"] > 0:
        return "NaN"
    if seen["inf"] > 0:
        return "Inf"
    return "zero" if seen["count"] > 0 and seen["zeros"] == seen["count"] else "finite"


def _sum(values: Iterable[int | None]) -> int | None:
    seen = [value for value in values if value is not None]
    return sum(seen) if seen else None


def _root_of_squares(values: Sequence[float | None]) -> float | None:
    seen = [value for value in values if value is not None]
    return math.hypot(*seen) if seen else None


def _merged_ratio(rows: Sequence[GradientRow]) -> float | None:
    """||all changes|| / ||all parameters||."""
    pairs = [(row["parameter_norm"], row["update_ratio"]) for row in rows]
    known = [(norm, ratio) for norm, ratio in pairs if norm is not None and ratio is not None]
    whole = math.hypot(*(norm for norm, _ in known))
    return math.hypot(*(norm * ratio for norm, ratio in known)) / whole if whole else None


def _known(value: float | None) -> float | None:
    """Return a statistic over finite elements; None where there is none, which the file says as NaN."""
    return None if value is None or math.isnan(value) else value


def _for_sorting(value: float | None) -> float:
    if value is None:
        return -1.0
    return math.inf if math.isnan(value) else value

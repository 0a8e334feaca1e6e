"""Gradient statistics: one subject over all steps, or all subjects of one step."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradwatch.errors import SessionDamaged
from gradwatch.records import HISTOGRAM_BINS, STATISTIC_DTYPES, Gradients, Histograms, OptimizerStep
from gradwatch.session.columns import HISTOGRAM_EDGES, as_array, decode_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.records import Column, SubjectKind
    from gradwatch.session.names import Subject
    from gradwatch.session.reader import SessionReader

_OPTIMIZER_COLUMNS = ("gradient_norm", "parameter_norm", "update_ratio")
_FORMATS = {"<f4": "<f", "<f8": "<d", "<u4": "<I", "<u8": "<Q", "<i4": "<i", "<i8": "<q"}
_COUNTS = frozenset(name for name, dtype in STATISTIC_DTYPES.items() if dtype == "<u8")

PerSubject = TypeVar("PerSubject", Gradients, Histograms, OptimizerStep)


class Statistics:
    """Statistics in numpy columns, one entry per row: counts int64, the rest float64.

    Counts are over all elements; min, max, mean, L1 and L2 over finite ones, NaN where there is none.
    A column that was not recorded is NaN, or -1 for counts.
    """

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self.columns = columns

    @property
    def norm(self) -> NDArray[np.float64]:
        """L2 norm."""
        return self.columns["l2"]

    @property
    def l1(self) -> NDArray[np.float64]:
        return self.columns["l1"]

    @property
    def min(self) -> NDArray[np.float64]:
        return self.columns["min"]

    @property
    def max(self) -> NDArray[np.float64]:
        return self.columns["max"]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.columns["mean"]

    @property
    def abs_max(self) -> NDArray[np.float64]:
        """Largest absolute value."""
        return np.maximum(np.abs(self.min), np.abs(self.max))

    @property
    def count(self) -> NDArray[np.int64]:
        """Number of elements."""
        return self.columns["count"]

    @property
    def zeros(self) -> NDArray[np.int64]:
        return self.columns["zeros"]

    @property
    def nan(self) -> NDArray[np.int64]:
        return self.columns["nan"]

    @property
    def inf(self) -> NDArray[np.int64]:
        return self.columns["inf"]

    @property
    def subnormals(self) -> NDArray[np.int64]:
        return self.columns["subnormals"]

    @property
    def zero_fraction(self) -> NDArray[np.float64]:
        """Share of elements that are zero, 0 to 1; NaN for empty tensors."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.count > 0, self.zeros / self.count, np.nan)


class GradientRows(Statistics):
    """Gradients of one step, a row per subject (and per backward call where there are several).

    `subjects` (int64) are parameter, module output or node ids; `backward` (int64) the index of the call.
    """

    def __init__(self, parts: list[Gradients], kind: SubjectKind, path: Path, name: Callable[[int, int], str]) -> None:
        self.kind: SubjectKind = kind
        self.step = parts[0].step if parts else -1
        self._name = name
        sizes = [len(as_array(part.subjects, path)) for part in parts]
        self.subjects: NDArray[np.int64] = _joined([as_array(part.subjects, path) for part in parts], np.int64)
        self.backward: NDArray[np.int64] = np.repeat(np.array([p.backward for p in parts], dtype=np.int64), sizes)
        super().__init__({key: _statistic(key, parts, sizes, path) for key in STATISTIC_DTYPES})

    @cached_property
    def names(self) -> list[str]:
        """What each row is about: names of parameters or module outputs, or the nodes' ops."""
        pairs = zip(self.backward.tolist(), self.subjects.tolist(), strict=True)
        return [self._name(backward, subject) for backward, subject in pairs]

    def last_calls_only(self) -> GradientRows:
        """Keep of each subject the row of the last backward call that reached it."""
        order = np.lexsort((self.backward, self.subjects))
        last = np.append(self.subjects[order][1:] != self.subjects[order][:-1], True)[: len(order)]
        return self._rows(np.sort(order[last]))

    def of_backward(self, index: int) -> GradientRows:
        """Keep the rows of one backward call."""
        return self._rows(np.flatnonzero(self.backward == index))

    def row(self, position: int) -> dict[str, float | int]:
        """Return one row's statistics by name."""
        return {key: column[position].item() for key, column in self.columns.items()}

    def _rows(self, positions: NDArray[np.intp]) -> GradientRows:
        chosen = GradientRows.__new__(GradientRows)
        chosen.kind, chosen.step, chosen._name = self.kind, self.step, self._name  # noqa: SLF001  # own class
        chosen.subjects, chosen.backward = self.subjects[positions], self.backward[positions]
        chosen.columns = {key: column[positions] for key, column in self.columns.items()}
        return chosen

    def __len__(self) -> int:
        return len(self.subjects)

    def __repr__(self) -> str:
        return f"<gradients of {len(self)} {self.kind}s at step {self.step}>"


@dataclass(frozen=True, slots=True)
class SeriesSource:
    """Where a series comes from: one subject of one session, with every backward call or the last of a step."""

    reader: SessionReader
    subject: Subject
    micro_batches: bool


class GradientSeries(Statistics):
    """One parameter's, or module output's, gradient over the session.

    One row per step, of the last backward call that reached it, or one per call with
    `micro_batches=True`. `steps` and `backward` are int64.
    """

    def __init__(self, source: SeriesSource) -> None:
        self._source = source
        self.name = source.subject.name
        self.kind = source.subject.kind
        rows = _Rows(list(STATISTIC_DTYPES))
        for record, row in _rows_of(source, Gradients):
            values = [_value(record.columns.get(key), row, source.reader.path, key) for key in STATISTIC_DTYPES]
            rows.add(record.step, record.backward, values)
        self.steps, self.backward, columns = rows.arrays(keep_all=source.micro_batches)
        super().__init__(columns)

    @cached_property
    def _histograms(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        path = self._source.reader.path
        found: dict[tuple[int, int], NDArray[np.float64]] = {}
        for record, row in _rows_of(self._source, Histograms):
            codes = as_array(record.codes, path, len(as_array(record.subjects, path)) * HISTOGRAM_BINS)
            place = (record.step, record.backward if self._source.micro_batches else 0)
            found[place] = decode_histograms(np.reshape(codes, (-1, HISTOGRAM_BINS))[row])
        steps = np.array([step for step, _ in sorted(found)], dtype=np.int64)
        return steps, np.reshape([found[place] for place in sorted(found)], (-1, HISTOGRAM_BINS))

    @property
    def histogram(self) -> NDArray[np.float64]:
        """Counts per bin, float64 (n, 64), of the steps in `histogram_steps`; within 4.5 % of the true counts."""
        return self._histograms[1]

    @property
    def histogram_steps(self) -> NDArray[np.int64]:
        """Steps at which histograms were recorded, int64 (n,)."""
        return self._histograms[0]

    @property
    def bin_edges(self) -> NDArray[np.int64]:
        """log2 of the edges of the histogram's bins, int64 (65,). The end bins are open."""
        return HISTOGRAM_EDGES

    @cached_property
    def _optimizer(self) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        rows = _Rows(list(_OPTIMIZER_COLUMNS))
        if self.kind == "parameter":
            for record, row in _rows_of(self._source, OptimizerStep):
                path = self._source.reader.path
                values = [_value(record.columns.get(key), row, path, key) for key in _OPTIMIZER_COLUMNS]
                rows.add(record.step, record.optimizer, values)
        steps, _, columns = rows.arrays(keep_all=False)
        return steps, columns

    @property
    def optimizer_steps(self) -> NDArray[np.int64]:
        """Steps in which an optimizer updated the parameter, int64; empty for module outputs."""
        return self._optimizer[0]

    @property
    def parameter_norm(self) -> NDArray[np.float64]:
        """L2 norm of the parameter before each of `optimizer_steps`."""
        return self._optimizer[1]["parameter_norm"]

    @property
    def update_ratio(self) -> NDArray[np.float64]:
        """||change|| / ||parameter|| in each of `optimizer_steps`."""
        return self._optimizer[1]["update_ratio"]

    @property
    def gradient_norm_at_step(self) -> NDArray[np.float64]:
        """L2 norm of the gradient that the optimizer used (after clipping) in each of `optimizer_steps`."""
        return self._optimizer[1]["gradient_norm"]

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        if not len(self):
            return f"<gradient of {self.name}: never reached>"
        return f"<gradient of {self.name}: {len(self)} rows, steps {self.steps[0]} to {self.steps[-1]}>"


class _Rows:
    """Rows gathered one by one, given back as columns in order of step and call."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._places: list[tuple[int, int]] = []
        self._values: list[list[float]] = []

    def add(self, step: int, call: int, values: list[float]) -> None:
        self._places.append((step, call))
        self._values.append(values)

    def arrays(self, *, keep_all: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[Any]]]:
        places = np.reshape(np.array(self._places, dtype=np.int64), (-1, 2))
        order = np.lexsort((places[:, 1], places[:, 0]))
        if not keep_all:
            steps = places[order, 0]
            order = order[np.append(steps[1:] != steps[:-1], True)[: len(order)]]
        columns = zip(
            self._names, zip(*self._values, strict=True) if self._values else [()] * len(self._names), strict=True
        )
        arrays = {name: np.array(c, dtype=np.int64 if name in _COUNTS else np.float64)[order] for name, c in columns}
        return places[order, 0], places[order, 1], arrays


def _rows_of(source: SeriesSource, record_type: type[PerSubject]) -> Iterator[tuple[PerSubject, int]]:
    """Every record that has a row of the subject, with that row's number."""
    rows: dict[bytes, int] = {}
    for record in source.reader.records(record_type):
        if not isinstance(record, OptimizerStep) and (record.subject_kind != source.subject.kind or record.stop >= 0):
            continue  # of something else, or of a stop
        row = rows.get(record.subjects.data)
        if row is None:
            found = np.flatnonzero(as_array(record.subjects, source.reader.path) == source.subject.id)
            row = rows[record.subjects.data] = int(found[0]) if len(found) else -1
        if row >= 0:
            yield record, row


def _value(column: Column | None, row: int, path: Path, name: str) -> float:
    if column is None:
        return -1 if name in _COUNTS else float("nan")
    try:
        form = _FORMATS[column.dtype]
        return struct.unpack_from(form, column.data, row * struct.calcsize(form))[0]
    except (KeyError, struct.error) as error:
        raise SessionDamaged(path, f"a column {name} of {column.dtype} has no row {row}") from error


def _statistic(name: str, parts: list[Gradients], sizes: list[int], path: Path) -> NDArray[Any]:
    kind = np.int64 if name in _COUNTS else np.float64
    absent = -1 if name in _COUNTS else np.nan
    columns = [
        as_array(part.columns[name], path, size) if name in part.columns else np.full(size, absent)
        for part, size in zip(parts, sizes, strict=True)
    ]
    return _joined(columns, kind)


def _joined(parts: list[NDArray[Any]], kind: type[Any]) -> NDArray[Any]:
    return np.concatenate([part.astype(kind) for part in parts]) if parts else np.empty(0, dtype=kind)

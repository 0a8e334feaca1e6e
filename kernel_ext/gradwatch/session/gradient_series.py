"""One gradient over all steps, out of Series where the session has them, and of the steps' own records."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradwatch.errors import SessionDamaged
from gradwatch.records import HISTOGRAM_BINS, STATISTIC_DTYPES, Gradients, Histograms, OptimizerStep
from gradwatch.session.columns import HISTOGRAM_EDGES, as_array, decode_histograms
from gradwatch.session.gradients import COUNTS, Statistics
from gradwatch.session.reader import SessionReader
from gradwatch.session.series import ParameterSeries, parameter_series

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.records import Column
    from gradwatch.session.names import Subject

_OPTIMIZER_COLUMNS = ("gradient_norm", "parameter_norm", "update_ratio")
_FORMATS = {"<f4": "<f", "<f8": "<d", "<u4": "<I", "<u8": "<Q", "<i4": "<i", "<i8": "<q"}

PerSubject = TypeVar("PerSubject", Gradients, Histograms, OptimizerStep)


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
        series = None if source.micro_batches or self.kind != "parameter" else _series(source)
        self._rows = None
        if series is not None:
            self.steps, columns = _with_rest(source, series)
        else:
            self._rows = _gradient_rows(source)
            self.steps, _, columns = self._rows
        super().__init__(columns)

    @cached_property
    def backward(self) -> NDArray[np.int64]:
        """Index of the backward call that each row is of."""
        return self._whole[0]

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Every statistic by its name."""
        return self._whole[1]

    @property
    def norm(self) -> NDArray[np.float64]:
        """L2 norm."""
        return self._columns["l2"]

    @property
    def min(self) -> NDArray[np.float64]:
        return self._columns["min"]

    @property
    def max(self) -> NDArray[np.float64]:
        return self._columns["max"]

    @cached_property
    def _whole(self) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Backward calls and columns at `steps`: what only damaged records would say is not there (-1 or NaN)."""
        source = self._source
        if self._rows is not None:
            return self._rows[1:]
        if source.reader.is_open:
            steps, backward, columns = _gradient_rows(source)
        else:
            with SessionReader(source.reader.path) as reader:
                steps, backward, columns = _gradient_rows(replace(source, reader=reader))
        known = np.isin(steps, self.steps)
        rows = np.searchsorted(self.steps, steps[known])

        def aligned(values: NDArray[Any], otherwise: float) -> NDArray[Any]:
            found = np.full(len(self.steps), otherwise, values.dtype)
            found[rows] = values[known]
            return found

        found = {name: aligned(values, -1 if name in COUNTS else np.nan) for name, values in columns.items()}
        return aligned(backward, -1), found | self._columns

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


def _gradient_rows(
    source: SeriesSource, after: int = -1
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Steps, backward calls and columns of the subject's rows, of the steps behind `after`."""
    rows = _Rows(list(STATISTIC_DTYPES))
    for record, row in _rows_of(source, Gradients, after):
        values = [_value(record.columns.get(key), row, source.reader.path, key) for key in STATISTIC_DTYPES]
        rows.add(record.step, record.backward, values)
    return rows.arrays(keep_all=source.micro_batches)


def _series(source: SeriesSource) -> ParameterSeries | None:
    """Return what Series hold of the subject; None where they hold nothing."""
    series = parameter_series(source.reader, source.subject.id)
    return series if series.last >= 0 else None


def _with_rest(source: SeriesSource, series: ParameterSeries) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Steps and columns of Series, with those of the steps behind their end."""
    steps, _, columns = _gradient_rows(source, series.last)
    found = {name: np.concatenate([series.columns[name], columns[name]]) for name in ("l2", "min", "max")}
    return np.concatenate([series.steps, steps]), found


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
        arrays = {name: np.array(c, dtype=np.int64 if name in COUNTS else np.float64)[order] for name, c in columns}
        return places[order, 0], places[order, 1], arrays


def _rows_of(source: SeriesSource, record_type: type[PerSubject], after: int = -1) -> Iterator[tuple[PerSubject, int]]:
    """Every record of a step behind `after` that has a row of the subject, with that row's number."""
    rows: dict[bytes, int] = {}
    reader = source.reader
    for record in reader.records(record_type) if after < 0 else reader.records_from_step(record_type, after + 1):
        if record.step <= after:
            continue
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
        return -1 if name in COUNTS else float("nan")
    try:
        form = _FORMATS[column.dtype]
        value = struct.unpack_from(form, column.data, row * struct.calcsize(form))[0]
    except (KeyError, struct.error) as error:
        raise SessionDamaged(path, f"a column {name} of {column.dtype} has no row {row}") from error
    if name in COUNTS and not -(1 << 63) <= value < 1 << 63:
        raise SessionDamaged(path, f"a column {name} counts {value}")
    return value

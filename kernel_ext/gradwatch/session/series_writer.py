"""Gathers what curves and timelines are drawn from out of the records of a recording. Runs on the writer's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradwatch.records import SERIES_STATISTICS, Backward, Column, Gradients, Series, Step, Totals
from gradwatch.session.reader import LATE_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gradwatch.records import Record

STRETCH_STEPS = 256
STRETCH_BYTES = 32 << 20
"""A stretch of many parameters ends before it would take more memory than this, about."""

NARROWEST_WIDTH = 64
MOST_BLOCKS = 16
_NEEDED = frozenset(("l2", "min", "max", "nan", "inf"))
_NO_LOSS = {None: np.nan, "nan": np.nan, "inf": np.inf, "-inf": -np.inf}


class SeriesWriter:
    """Takes the records of a recording in, and gives back Series and Totals of each stretch of steps."""

    def __init__(
        self,
        stretch_steps: int = STRETCH_STEPS,
        stretch_bytes: int = STRETCH_BYTES,
        narrowest_width: int = NARROWEST_WIDTH,
    ) -> None:
        self._width = narrowest_width
        self._steps: dict[int, _OpenStep] = {}
        self._stretch_steps = stretch_steps
        self._stretch_bytes = stretch_bytes
        self._bytes = 0
        self._size = 0
        self._ended = False
        self._series_first = 0
        self._totals_first = 0

    def add(self, record: Record) -> list[Record]:
        """Take a record in; return those of a stretch that no more records will come of."""
        number = -1 if self._ended else _step_number(record)
        if number < self._totals_first:
            return []  # none of ours, or later than a record may be
        if isinstance(record, Gradients) and not record.columns.keys() >= _NEEDED:
            self._ended = True  # "not recorded" would not be told from "not seen"
            return []
        ended = self._end_stretch(self._stretch_steps) if number not in self._steps and self._is_full() else []
        step = self._steps.get(number)
        if step is None:
            step = self._steps[number] = _OpenStep(number)
        self._bytes += step.take(record)
        return ended

    def finish(self) -> list[Record]:
        """Return the records of what is left."""
        return [] if self._ended else self._end_stretch(len(self._steps))

    def _is_full(self) -> bool:
        count = len(self._steps)
        return count > LATE_STEPS + self._stretch_steps or (
            count > LATE_STEPS + 1 and self._bytes >= self._stretch_bytes
        )

    def _end_stretch(self, most: int) -> list[Record]:
        """End a stretch with the lowest steps, but for those that records may still come of."""
        count = min(most, max(len(self._steps) - LATE_STEPS - 1, 1)) if most < len(self._steps) else most
        steps = [self._steps.pop(number) for number in sorted(self._steps)[:count]]
        if not steps:
            return []
        self._bytes -= sum(step.bytes for step in steps)
        reached = [step for step in steps if step.gradients]
        tables = self._tables(reached)
        return [*self._series(reached, tables), self._totals(steps, _norms(reached, tables))]

    def _series(self, steps: Sequence[_OpenStep], tables: dict[str, NDArray[np.float64]]) -> Iterator[Series]:
        if not steps:
            return
        width = self._width
        while width * MOST_BLOCKS < self._size:
            width *= 2
        seen: NDArray[np.bool_] = np.any(~np.isnan(tables["nonfinite"]), axis=1)
        blocks = [np.flatnonzero(seen[low : low + width]) + low for low in range(0, self._size, width)]
        first, self._series_first = self._series_first, steps[-1].number + 1
        for place, statistic in enumerate(SERIES_STATISTICS):
            for number, subjects in enumerate(blocks):
                yield Series(
                    step=steps[-1].number,
                    first=first,
                    statistic=statistic,
                    part=place * len(blocks) + number,
                    parts=len(SERIES_STATISTICS) * len(blocks),
                    width=width,
                    steps=_column("<u4", [step.number for step in steps]),
                    subjects=_column("<u4", subjects),
                    values=_narrowest(tables[statistic][subjects]),
                )

    def _tables(self, steps: Sequence[_OpenStep]) -> dict[str, NDArray[np.float64]]:
        """Return a row per parameter id and a column per step for each statistic; NaN where no gradient was seen."""
        largest = max((step.largest for step in steps), default=-1)
        # Never fewer than before: readers rely on the layout of a stretch being that of the one before, or larger.
        self._size = max(self._size, largest + 1)
        tables = {name: np.full((self._size, len(steps)), np.nan) for name in SERIES_STATISTICS}
        same = _subjects_of_all(steps)
        if same is not None:
            for name, table in tables.items():
                table[same] = np.transpose(_stacked([step.gradients[0] for step in steps], name))
            return tables
        for place, step in enumerate(steps):
            for record in sorted(step.gradients, key=lambda record: record.backward):
                for name, table in tables.items():
                    table[_subjects(record), place] = _stacked([record], name)[0]
        return tables

    def _totals(self, steps: Sequence[_OpenStep], norms: dict[int, tuple[float, int]]) -> Totals:
        first, self._totals_first = self._totals_first, steps[-1].number + 1
        found = [norms.get(step.number, (np.nan, -1)) for step in steps]
        calls = [(step.number, *call) for step in steps for call in step.backward]
        return Totals(
            step=steps[-1].number,
            first=first,
            steps=_column("<u4", [step.number for step in steps]),
            ended=_column("|u1", [step.record is not None for step in steps]),
            start_ns=_column("<i8", [step.record.start_ns if step.record else -1 for step in steps]),
            end_ns=_column("<i8", [step.record.end_ns if step.record else -1 for step in steps]),
            cost_ns=_column("<i8", [step.record.cost_ns if step.record else -1 for step in steps]),
            loss=_column("<f8", [_loss(step.record) for step in steps]),
            loss_seen=_column("|u1", [_has_loss(step.record) for step in steps]),
            gradient_norm=_column("<f8", [norm for norm, _ in found]),
            nonfinite=_column("<i4", [nonfinite for _, nonfinite in found]),
            call_step=_column("<u4", [number for number, _, _, _ in calls]),
            call_graph=_column("<i4", [graph for _, graph, _, _ in calls]),
            call_inside=_column("|u1", [inside for _, _, inside, _ in calls]),
            call_held_bytes=_column("<i8", [held for _, _, _, held in calls]),
            interrupted={
                str(step.number): step.record.interrupted for step in steps if step.record and step.record.interrupted
            },
            skipped=[step.number for step in steps if step.record and step.record.skipped],
            loss_scale=_loss_scales([step.record for step in steps]),
        )


def _loss_scales(records: Sequence[Step | None]) -> Column | None:
    scales = [record.loss_scale if record else None for record in records]
    if all(scale is None for scale in scales):
        return None
    return _column("<f8", [np.nan if scale is None else scale for scale in scales])


class _OpenStep:
    """What was recorded of a step, as far as series and totals are made of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.record: Step | None = None
        self.backward: list[tuple[int, bool, int]] = []
        self.gradients: list[_Gradients] = []
        self.bytes = 0

    @property
    def largest(self) -> int:
        """The highest id of a parameter whose gradient was seen; -1 for none."""
        return max((int(_subjects(record).max()) for record in self.gradients), default=-1)

    def take(self, record: Record) -> int:
        """Take a record in; return the bytes that it keeps in memory."""
        if isinstance(record, Step):
            self.record = record
        elif isinstance(record, Backward):
            self._take_call(record)
        elif isinstance(record, Gradients) and record.subjects.data:
            return self._take_gradients(record)
        return 0

    def _take_gradients(self, record: Gradients) -> int:
        before = self.bytes
        last = self.gradients[-1] if self.gradients else None
        if last is not None and last.subjects == record.subjects.data and last.backward <= record.backward:
            self.bytes -= _size(self.gradients.pop())  # a later call that reached the same parameters
        kept = _Gradients(record.backward, record.subjects.data, {name: record.columns[name] for name in _NEEDED})
        self.gradients.append(kept)
        self.bytes += _size(kept)
        return self.bytes - before

    def _take_call(self, call: Backward) -> None:
        kind = (call.graph, call.parent >= 0)
        again = bool(self.backward) and self.backward[-1][:2] == kind
        before = self.backward.pop()[2] if again else -1
        self.backward.append((*kind, max(before, call.held_bytes)))


class _Gradients(NamedTuple):
    backward: int
    subjects: bytes
    columns: dict[str, Column]


def _size(record: _Gradients) -> int:
    return sum(len(column.data) for column in record.columns.values())


def _subjects(record: _Gradients) -> NDArray[np.uint32]:
    return np.frombuffer(record.subjects, "<u4")


def _subjects_of_all(steps: Sequence[_OpenStep]) -> NDArray[np.uint32] | None:
    """Return the subjects where every step has one record and all of them the same; None otherwise."""
    records = [record for step in steps for record in step.gradients]
    one_each = all(len(step.gradients) == 1 for step in steps)
    if not records or not one_each or any(record.subjects != records[0].subjects for record in records):
        return None
    return _subjects(records[0])


def _stacked(records: Sequence[_Gradients], statistic: str) -> NDArray[np.float64]:
    """Return a row of values per record, all of the same subjects."""
    if statistic == "nonfinite":
        return _stacked(records, "nan") + _stacked(records, "inf")
    columns = [record.columns[statistic] for record in records]
    if any(column.dtype != columns[0].dtype for column in columns):
        return np.stack([np.frombuffer(column.data, column.dtype).astype(np.float64) for column in columns])
    values = np.frombuffer(b"".join(column.data for column in columns), columns[0].dtype)
    return np.reshape(values.astype(np.float64), (len(columns), -1))


def _norms(steps: Sequence[_OpenStep], tables: dict[str, NDArray[np.float64]]) -> dict[int, tuple[float, int]]:
    """L2 norm over finite gradients, and how many parameters have NaN or Inf, by step."""
    if not steps:
        return {}
    finite = np.where(np.isfinite(tables["l2"]), tables["l2"], 0.0)
    largest = finite.max(axis=0, initial=0.0)
    scaled = finite / np.where(largest > 0, largest, 1.0)  # squares pass the largest number before norms do
    norms = largest * np.sqrt(np.square(scaled).sum(axis=0))
    with np.errstate(invalid="ignore"):
        nonfinite = np.count_nonzero(tables["nonfinite"] > 0, axis=0)
    numbers = [step.number for step in steps]
    return dict(zip(numbers, zip(norms.tolist(), nonfinite.tolist(), strict=True), strict=True))


def _step_number(record: Record) -> int:
    """Return the step whose curves or totals the record belongs to; -1 for others."""
    if isinstance(record, Step):
        return record.number
    if isinstance(record, Backward) or (
        isinstance(record, Gradients) and record.subject_kind == "parameter" and record.stop < 0
    ):
        return record.step
    return -1


def _loss(record: Step | None) -> float:
    if record is None:
        return np.nan
    return record.loss if record.loss is not None else _NO_LOSS[record.loss_nonfinite]


def _has_loss(record: Step | None) -> bool:
    return record is not None and (record.loss is not None or record.loss_nonfinite is not None)


def _column(dtype: str, values: Any) -> Column:
    return Column(dtype, np.asarray(values, dtype=dtype).tobytes())


def _narrowest(values: NDArray[np.float64]) -> Column:
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    fits = np.array_equal(narrow.astype(np.float64), values, equal_nan=True)
    return _column("<f4", narrow) if fits else _column("<f8", values)

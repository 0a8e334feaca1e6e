"""Curves of a parameter out of Series records: the part of each stretch that has it is read, and no other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import SessionDamaged
from gradwatch.records import SERIES_STATISTICS, Series
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradwatch.session.reader import SessionReader


@dataclass(frozen=True, slots=True)
class ParameterSeries:
    """One parameter from step 0 to step `last` (-1: nothing): an entry per step that its gradient was seen in."""

    last: int
    steps: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class _Column:
    last: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def parameter_series(reader: SessionReader, parameter: int) -> ParameterSeries:
    """Read every statistic of SERIES_STATISTICS, as far as all of them go without a gap."""
    found = {name: _ColumnWalk(reader, parameter, name).read() for name in SERIES_STATISTICS}
    counts = found["nonfinite"]
    last = min(column.last for column in found.values())
    if any(not np.array_equal(_until(column, last), _until(counts, last)) for column in found.values()):
        last = -1  # they are of other steps than each other: believe none, and read the Gradients
    common = int(np.count_nonzero(counts.steps <= last))
    seen = ~np.isnan(counts.values[:common])
    columns = {name: column.values[:common][seen] for name, column in found.items()}
    return ParameterSeries(last, counts.steps[:common][seen], columns)


def _until(column: _Column, last: int) -> NDArray[np.int64]:
    return column.steps[column.steps <= last]


class _ColumnWalk:
    """Goes from stretch to stretch. What is damaged, or not where it should be, ends it."""

    def __init__(self, reader: SessionReader, parameter: int, statistic: str) -> None:
        self._reader = reader
        self._parameter = parameter
        self._place = SERIES_STATISTICS.index(statistic)  # type: ignore[arg-type]  # a word of the contract
        self._statistic = statistic
        self._last = -1
        self._steps: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float64]] = []

    def read(self) -> _Column:
        start = parts = width = 0
        while start < self._reader.count(Series):
            part = self._part(start + self._target(parts, width)) if parts else None
            if part is not None and self._fits(part, parts, width):
                if not self._take(part):
                    break
                start += parts
                continue
            # Layouts grow with the number of parameters; wider parts may be fewer.
            begin = self._part(start)
            if begin is None or not _is_layout(begin) or (begin.width, begin.parts) <= (width, parts):
                break
            parts, width = begin.parts, begin.width
        steps = np.concatenate([np.empty(0, np.int64), *self._steps])
        return _Column(self._last, steps, np.concatenate([np.empty(0), *self._values]))

    def _fits(self, part: Series, parts: int, width: int) -> bool:
        return (part.part, part.parts, part.width) == (self._target(parts, width), parts, width)

    def _target(self, parts: int, width: int) -> int:
        """Which part of a stretch has the parameter; the last of the statistic where it came only later."""
        blocks = parts // len(SERIES_STATISTICS)
        return self._place * blocks + min(self._parameter // width, blocks - 1) if blocks else 0

    def _part(self, position: int) -> Series | None:
        return next(self._reader.records_in_chunk(Series, position), None)

    def _take(self, part: Series) -> bool:
        """False where it does not follow what was read, or its columns do not fit each other."""
        if part.first != self._last + 1 or part.statistic != self._statistic:
            return False
        path = self._reader.path
        try:
            steps = as_array(part.steps, path).astype(np.int64)
            subjects = as_array(part.subjects, path)
            values: NDArray[np.float64] = as_array(part.values, path, len(steps) * len(subjects)).astype(np.float64)
        except SessionDamaged:
            return False
        if not _ascends([part.first - 1, *steps.tolist(), part.step + 1]):
            return False
        rows = np.flatnonzero(subjects == self._parameter)
        row = int(rows[0]) * len(steps) if len(rows) else -1
        self._last = part.step
        self._steps.append(steps)
        self._values.append(values[row : row + len(steps)] if row >= 0 else np.full(len(steps), np.nan))
        return True


def _is_layout(part: Series) -> bool:
    return part.part == 0 and part.width > 0 and part.parts >= len(SERIES_STATISTICS)


def _ascends(steps: list[int]) -> bool:
    return all(step < after for step, after in pairwise(steps))

"""The `.grad` of every parameter at a stop: its state, its statistics, and what changed since the stop before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from gradwatch.capture.budget import OVER
from gradwatch.capture.graph import column
from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_cpu import load_kernel
from gradwatch.capture.step_records import merge_rows
from gradwatch.records import GRADIENT_STATES, Column, Gradients, GradientStates, Histograms, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gradwatch.capture.budget import Budget
    from gradwatch.capture.stop_history import Change
    from gradwatch.records import SubjectKind

NONE, FROZEN, PRESENT, UNREAD = range(len(GRADIENT_STATES))
CHUNK_BYTES = 4 << 20
"""Small tensors are read together up to this size; then the clock is looked at."""
POLL_S = 0.0005
SLOWEST = 1e8
"""Bytes a second that any host reads, in torch operations: what is assumed before one large tensor was read."""


@dataclass(slots=True)
class Statistics:
    """Statistics (and histogram codes) of those tensors, by position, that `subjects` lists; why others have none."""

    subjects: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    codes: NDArray[np.uint8] | None
    notices: list[Notice]


@dataclass(slots=True)
class GradientsRead:
    """How each leaf's `.grad` stands, in their order, and what was read of them."""

    state: list[int]
    gradients: list[Any]
    statistics: Statistics

    def norms(self) -> list[float]:
        """The L2 norm of each leaf's `.grad`; NaN where it was not read."""
        norms = np.full(len(self.state), math.nan)
        if len(self.statistics.subjects):
            norms[self.statistics.subjects] = self.statistics.columns["l2"]
        return norms.tolist()


class _Table:
    """Statistics of some of the leaves: those on the host, or those on devices."""

    def __init__(self) -> None:
        self._rows = StatisticRows()
        self._leaves: list[int] = []
        self._numbers: list[int] = []

    def begin(self, *, histogram: bool) -> None:
        if not self._rows.is_ready():  # a device still writes there
            self._rows = StatisticRows()
        self._rows.clear()
        self._rows.histogram = histogram
        self._leaves, self._numbers = [], []

    def add(self, leaves: list[int], gradients: list[Any]) -> list[Notice]:
        """Read gradients of `leaves`; what cannot be read is told."""
        notices: list[Notice] = []
        for leaf, gradient, number in zip(leaves, gradients, self._add_each(gradients), strict=True):
            if number >= 0:
                self._leaves.append(leaf)
                self._numbers.append(number)
            part = self._rows.labels.get(number)
            if number < 0:
                self._add_one(gradient)  # again, for its own reason: the rows keep the last one's
                notices.append(_notice("not observable", f"gradient: {self._rows.why_not}", leaf))
            elif part:
                notices.append(_notice("partial", f"gradient: its {part} alone", leaf))
        return notices

    def _add_each(self, gradients: list[Any]) -> list[int]:
        try:
            return self._rows.add_many(gradients)
        except Exception:  # noqa: BLE001 # one of them is of a kind nobody foresaw: the others are read
            return [self._add_one(gradient) for gradient in gradients]

    def _add_one(self, gradient: Any) -> int:
        try:
            return self._rows.add(gradient)
        except Exception as error:  # noqa: BLE001 # as above
            self._rows.why_not = f"{type(gradient).__name__} could not be read: {error}"
            return -1

    def land(self, budget: Budget) -> int:
        """Poll the devices until the budget ends; drop what has not arrived, and say how many that were."""
        while self._rows.pending and not self._rows.is_ready():
            if budget.is_over():
                lost = len(self._leaves)
                self._leaves, self._numbers = [], []
                return lost
            sleep(POLL_S)
        return 0

    def take(self) -> tuple[list[int], dict[str, NDArray[Any]], NDArray[np.uint8] | None]:
        if not self._leaves:  # not even asked: what waits for a device would be waited for
            return [], {}, None
        numbers = np.array(self._numbers, np.int64)
        codes = self._rows.histogram_codes(numbers) if self._rows.histogram else None
        return self._leaves, self._rows.columns(numbers), codes


class GradientReader:
    """Reads gradients until the budget ends. One for a process: it knows how fast tensors were read."""

    def __init__(self) -> None:
        self._tables: dict[bool, _Table] = {}
        self._speed = SLOWEST if load_kernel() is None else 20 * SLOWEST

    def read(self, leaves: Sequence[torch.Tensor], budget: Budget, *, histograms: bool) -> GradientsRead:
        """Read `.grad` of each leaf. Never waits for a device longer than the budget lasts."""
        pairs = [_state_of(leaf) for leaf in leaves]
        statistics = self.read_tensors([gradient for _, gradient in pairs], budget, histograms=histograms)
        states = [state for state, _ in pairs]
        for leaf in statistics.subjects.tolist():
            states[leaf] = PRESENT
        return GradientsRead(states, [gradient for _, gradient in pairs], statistics)

    def read_tensors(self, tensors: list[Any], budget: Budget, *, histograms: bool) -> Statistics:
        """Read each tensor, None left out, as `read` does."""
        reasons = [None if tensor is None else _why_not(tensor) for tensor in tensors]
        notices = [_notice("not observable", f"gradient: {reason}", i) for i, reason in enumerate(reasons) if reason]
        waiting = [i for i, tensor in enumerate(tensors) if tensor is not None and reasons[i] is None]
        tables: list[_Table] = []
        for on_device in (True, False):  # devices work while the host reads
            mine = [i for i in waiting if _is_on_device(tensors[i]) is on_device]
            if mine:
                table = self._tables.setdefault(on_device, _Table())
                table.begin(histogram=histograms)
                tables.append(table)
                notices += self._add(table, mine, tensors, budget)
        lost = sum(table.land(budget) for table in tables)
        if lost:
            budget.misses("gradients", "the device had not answered when the time budget ended", 0, lost)
        return _gathered(tables, notices)

    def _add(self, table: _Table, leaves: list[int], gradients: list[Any], budget: Budget) -> list[Notice]:
        notices: list[Notice] = []
        done = 0
        for chunk, size in _chunks(leaves, gradients):
            in_time = size <= self._speed * budget.left() or _is_on_device(gradients[chunk[0]])
            if budget.is_over() or not in_time:
                continue  # it would not be read in time; a smaller one may
            start = perf_counter()
            notices += table.add(chunk, [gradients[leaf] for leaf in chunk])
            if size >= CHUNK_BYTES // 2 and not _is_on_device(gradients[chunk[0]]):
                self._speed = max(SLOWEST, size / max(perf_counter() - start, 1e-6))
            done += len(chunk)
        if done < len(leaves):
            budget.misses("gradients", OVER, done, len(leaves))
        return notices


def _gathered(tables: list[_Table], notices: list[Notice]) -> Statistics:
    subjects: list[int] = []
    columns: list[dict[str, NDArray[Any]]] = []
    codes: list[NDArray[np.uint8]] = []
    for table in tables:
        tensors, values, histogram = table.take()
        if tensors:
            subjects += tensors
            columns.append(values)
            codes += [] if histogram is None else [histogram]
    return Statistics(
        np.array(subjects, np.int64),
        {name: np.concatenate([each[name] for each in columns]) for name in columns[0]} if columns else {},
        np.concatenate(codes) if codes else None,
        notices,
    )


def _state_of(leaf: Any) -> tuple[int, Any]:
    """The state of a leaf's `.grad` before it is read, and `.grad` itself."""
    try:
        gradient = leaf.grad
        requires_grad = bool(leaf.requires_grad)
    except Exception:  # noqa: BLE001 # a subclass may raise what it likes
        return UNREAD, None
    if gradient is None:
        return (NONE if requires_grad else FROZEN), None
    return UNREAD, gradient


def _why_not(gradient: Any) -> str | None:
    """Why a gradient on a device is not read at a stop: doing so would allocate its size there, and wait."""
    try:
        if gradient.is_cuda and gradient.layout is torch.sparse_coo and not gradient.is_coalesced():
            return "a sparse tensor on a device that is not coalesced"
        if gradient.is_cuda and gradient.is_complex() and gradient.is_neg():
            return "a complex tensor on a device that is lazily negated"
    except Exception as error:  # noqa: BLE001 # likewise
        return f"{type(gradient).__name__} could not be read: {error}"
    return None


def _is_on_device(gradient: Any) -> bool:
    try:
        return bool(gradient.is_cuda)
    except Exception:  # noqa: BLE001 # likewise
        return False


def _chunks(leaves: list[int], gradients: list[Any]) -> Iterator[tuple[list[int], int]]:
    chunk: list[int] = []
    total = 0
    for leaf in leaves:
        size = _size_of(gradients[leaf])
        if chunk and total + size > CHUNK_BYTES:
            yield chunk, total
            chunk, total = [], 0
        chunk.append(leaf)
        total += size
    if chunk:
        yield chunk, total


def _size_of(gradient: Any) -> int:
    try:
        return int(gradient.numel()) * int(gradient.element_size())
    except Exception:  # noqa: BLE001 # likewise
        return 0


def _notice(kind: Any, text: str, leaf: int) -> Notice:
    return Notice(kind, text, subject_kind="parameter", subject=leaf)


@dataclass(frozen=True, slots=True)
class About:
    """What rows of a stop are about."""

    step: int
    stop: int
    kind: SubjectKind = "parameter"


def statistics_records(read: Statistics, about: About) -> tuple[list[Gradients], list[Histograms]]:
    """The statistics as a session has them; empty where nothing was read."""
    if not len(read.subjects):
        return [], []
    subjects = column(read.subjects, "<u4")
    columns = {name: Column(_dtype_text(values), values.tobytes()) for name, values in read.columns.items()}
    gradients = Gradients(about.step, -1, about.kind, subjects, columns, about.stop)
    if read.codes is None:
        return [gradients], []
    codes = Column("|u1", read.codes.tobytes())
    return [gradients], [Histograms(about.step, -1, about.kind, subjects, codes, about.stop)]


def as_one(read: Statistics, subject: int) -> Statistics:
    """The statistics of all tensors together, as those of `subject`: a node with several outputs is one row."""
    if not len(read.subjects):
        return read
    same = np.full(len(read.subjects), subject, np.int64)
    subjects, columns, codes = merge_rows(same, read.columns, read.codes)
    return Statistics(subjects, columns, codes, read.notices)


def _dtype_text(values: Any) -> str:
    return values.dtype.str


def states_record(
    read: GradientsRead, stop: int, changes: list[Change], pending: Sequence[bool], unit: Literal["steps", "stops"]
) -> GradientStates:
    return GradientStates(
        stop=stop,
        subjects=column(range(len(read.state)), "<u4"),
        state=column(read.state, "|u1"),
        stale=column([change.stale for change in changes], "<i4"),
        changed=column([change.changed for change in changes], "|u1"),
        previous_norm=column([change.previous_norm for change in changes], "<f4"),
        pending=column(pending, "|u1"),
        stale_unit=unit,
    )

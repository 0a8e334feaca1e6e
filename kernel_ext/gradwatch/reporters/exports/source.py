"""What an export reads: the records of the chosen steps, one at a time, and what they are called."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from gradwatch.errors import SessionDamaged, UsageError
from gradwatch.records import Backward, Gradients, Histograms, Step
from gradwatch.session.columns import as_array
from gradwatch.session.gradients import GradientRows
from gradwatch.session.reader import LATE_STEPS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from gradwatch.reporters.exports.progress import Progress
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView

R = TypeVar("R")

_FEW_STEPS = 512
_KEPT_NAMES = 64
_LONGEST_TEXT = 4096
_LAST_STEP = 1 << 53


class Source:
    """A session's records of the steps `first` to `last`, all of them where both are None."""

    def __init__(self, session: Session, steps: range | None, progress: Progress) -> None:
        self.session = session
        self.steps = steps
        self.damaged = 0
        """Records that were left out because their columns do not fit."""
        self._progress = progress
        self._names: dict[tuple[str, int, str, bytes], list[str]] = {}
        self._calls: tuple[int, list[BackwardView]] = (-1, [])

    @property
    def numbers(self) -> list[int]:
        """The steps' numbers, in order."""
        steps = self.session.steps
        everything = (view.number for view in steps)
        return [number for number in everything if self.steps is None or number in self.steps]

    def records(self, record_type: type[R]) -> Iterator[R]:
        """Every record of a type that belongs to one of the steps, in file order."""
        reader = self.session.reader
        if self.steps is None:
            found = reader.records(record_type)
        elif len(self.steps) <= _FEW_STEPS:
            found = (record for number in self.steps for record in reader.records_of_step(record_type, number))
        else:
            found = self._between(record_type, self.steps)
        self._progress.start(record_type)
        for record in found:
            self._progress.at(step_of(record))
            yield record

    def by_step(self, record_type: type[R]) -> Iterator[tuple[int, list[R]]]:
        """Yield the records of one step after the other, in order of the steps."""
        waiting: dict[int, list[R]] = {}
        for record in self.records(record_type):
            step = step_of(record)
            waiting.setdefault(step, []).append(record)
            for ready in sorted(number for number in waiting if number < step - LATE_STEPS):
                yield ready, waiting.pop(ready)
        for number in sorted(waiting):
            yield number, waiting[number]

    def calls(self, step: int) -> list[BackwardView]:
        """The step's calls into autograd; of the step asked for last they are at hand."""
        if self._calls[0] != step:
            self._calls = step, self.session.step(step).backwards
        return self._calls[1]

    def names(self, record: Gradients | Histograms) -> list[str]:
        """What each row of a record is about."""
        graph = self._graph_of(record.step, record.backward) if record.subject_kind == "node" else -1
        key = record.subject_kind, graph, record.subjects.dtype, record.subjects.data
        if key not in self._names:
            while len(self._names) >= _KEPT_NAMES:
                del self._names[next(iter(self._names))]
            subjects: list[int] = as_array(record.subjects, self.session.path).tolist()
            self._names[key] = [cut(name) for name in self._named(record.subject_kind, graph, subjects)]
        return self._names[key]

    def rows(self, record: Gradients) -> GradientRows:
        """Return a record's statistics; `names` names its rows."""
        return GradientRows([record], record.subject_kind, self.session.path, _unnamed)

    @contextmanager
    def losing_damaged(self) -> Generator[None]:
        """Leave out a record whose columns do not fit, or whose numbers no column holds; it is counted."""
        try:
            yield
        except (SessionDamaged, UsageError, ValueError, OverflowError, LookupError):
            self.damaged += 1

    def _named(self, kind: str, graph: int, subjects: Sequence[int]) -> Iterator[str]:
        if kind != "node":
            return (self.session.names.subject_name(kind, number) for number in subjects)
        columns = self.session.graph_columns(graph)
        return (f"node {node}" if columns is None else columns.name(node) for node in subjects)

    def _graph_of(self, step: int, backward: int) -> int:
        return next((call.graph_id for call in self.calls(step) if call.index == backward), -1)

    def _between(self, record_type: type[R], steps: range) -> Iterator[R]:
        for record in self.session.reader.records(record_type):
            step = step_of(record)
            if step > steps[-1] + LATE_STEPS:
                return
            if step in steps:
                yield record


def steps_asked(text: str | None, session: Session) -> range | None:
    """Read "12", "10:20", "10:" or ":20", both ends included. Raises UsageError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{0,18})(:?)(\d{0,18})", text.strip())
    if match is None or not any(match.group(1, 3)):
        raise UsageError(f"{text!r} names no steps. Write one, 12, or a range with both its ends in it: 10:20.")
    first, colon, last = match.groups()
    numbers = [view.number for view in session.steps if view.number <= _LAST_STEP]
    low = int(first or 0)
    high = int(last) if last else (low if not colon else max(numbers, default=0))
    inside = [number for number in numbers if low <= number <= high]
    if not inside:
        raise UsageError(f"There are no steps {text} in this session. {session.steps.range_text}")
    return range(inside[0], inside[-1] + 1)


def step_of(record: Any) -> int:
    """Return the step that a record belongs to; -1 for one of no step."""
    if isinstance(record, Step):
        return record.number
    return getattr(record, "step", -1)


def of_calls(records: Iterator[R]) -> Iterator[R]:
    """Leave out what a debugger found at a stop: it is of no backward call."""
    return (record for record in records if getattr(record, "stop", -1) < 0)


def call_of(source: Source, step: int, backward: int) -> Backward | None:
    """Return the record of a backward call; None when the file lacks it."""
    with source.losing_damaged():
        return next((call.record for call in source.calls(step) if call.index == backward), None)
    return None


def _unnamed(_backward: int, _subject: int) -> str:
    return ""


def cut(text: str) -> str:
    """Shorten a name that no tool could show: a session may be a stranger's."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"

"""A bar on stderr for an export that takes long, where stderr is a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from gradwatch.session.session import Session

_SHOWN_AFTER_S = 1.0
_EVERY_RECORDS = 64


class Progress:
    """How far an export is: it goes through the steps once for each of `record_types`, however long each takes."""

    def __init__(self, session: Session, record_types: tuple[type, ...], steps: range | None, what: str) -> None:
        self._weights = {kind: session.reader.count(kind) for kind in record_types}
        self._first, self._count = _extent(session, steps)
        self._done = 0
        self._passing: type | None = None
        self._seen = 0
        self._what = what
        self._bar: Bar | None = None
        self._started = time.monotonic()

    def start(self, record_type: type) -> None:
        """Begin with the records of a type."""
        self._done += self._weights.pop(self._passing, 0) if self._passing else 0
        self._passing = record_type

    def at(self, step: int) -> None:
        """Say that a record of this step has been read."""
        self._seen += 1
        if self._seen % _EVERY_RECORDS or not sys.stderr.isatty():
            return
        if self._bar is None and time.monotonic() - self._started > _SHOWN_AFTER_S:
            self._show()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._share(step))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _share(self, step: int) -> float:
        """How much of the chunks to read has been read, 0 to 1."""
        weight = self._weights.get(self._passing, 0) if self._passing else 0
        total = self._done + sum(self._weights.values())
        inside = min(max((step - self._first) / self._count, 0.0), 1.0)
        return (self._done + weight * inside) / total if total else 0.0

    def _show(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.add_task(self._what, total=1.0)
        self._bar.start()


def _extent(session: Session, steps: range | None) -> tuple[int, int]:
    """First step and number of steps."""
    if steps:
        return steps[0], len(steps)
    views = session.steps
    return (views[0].number, views[-1].number - views[0].number + 1) if len(views) else (0, 1)

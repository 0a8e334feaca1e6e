"""Writes a session file: the program hands records over, a thread encodes, groups, packs and appends them.

Nothing here may hurt the program that is recorded: no call raises into it, none waits for the disk for
long, and no lock is shared with the thread, so a debugger that suspends threads cannot lock it up.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradwatch.records import Finish, Gradients, Held, Histograms, Ledger, Notice, OptimizerStep, Record, Run
from gradwatch.session.chunk_writer import ChunkWriter
from gradwatch.session.encoding import weight
from gradwatch.session.file import create_file
from gradwatch.session.series_writer import SeriesWriter

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE_BYTES = 64 << 20
"""Above this much waiting for the disk, detail is dropped; above twice as much, numbers per step too."""

_PATIENCE_S = 0.05
_FLUSH_BYTES = 256 << 10
_LARGEST_PENDING_BYTES = 1 << 20
_REST_S = 0.02
"""How long the thread lets records gather before it looks again: each of its wake-ups takes the interpreter lock from
the program."""
_SHORTEST_INTERVAL_S = 0.1
_LONGEST_INTERVAL_S = 1.0
_INTERVAL_GROWTH = 0.1 / 3600
"""The shortest interval holds for an hour (a reader that follows sees a step 0.1 s after its end), then grows: ten
hours of chunks are three times, not ten times, those of one, and still open at once."""
_COARSEST_INTERVAL = 1 << 20


@dataclass(frozen=True, slots=True)
class _Handed:
    record: Record
    time_ns: int
    step: int
    weight: int


@dataclass(frozen=True, slots=True)
class _StepEnd:
    pass


@dataclass(frozen=True, slots=True)
class _Flush:
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Close:
    finish: Finish


def path_of_rank(path: Path, rank: int, world_size: int) -> Path:
    """Name the file of one of several processes: run.rank3.gradwatch, unless the name says "rank3" already."""
    if world_size < 2 or re.search(rf"(?<![a-z])rank[-_.]?0*{rank}(?!\d)", path.name):
        return path
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


class SessionWriter:
    """Appends records to a new session file at `path`.

    The records of one type are to be handed over in step order, give or take two steps. `budget_bytes`
    sets the pace of `detail_interval`; it cuts nothing off.

    Raises SessionExists, or RecordingError when the file cannot be made. No other method raises.
    """

    def __init__(self, path: Path, run: Run, *, overwrite: bool = False, budget_bytes: int = 2 << 30) -> None:
        self.path = Path(path)
        self.failed: str | None = None
        self.on_failure: Callable[[str], None] | None = None
        self._budget_bytes = max(budget_bytes, 1)
        self._process = os.getpid()
        self._closed = False
        self._queue: queue.SimpleQueue[_Handed | _StepEnd | _Flush | _Close] = queue.SimpleQueue()
        # Keyed by thread, so that each count has one writer and none is lost without a lock.
        self._handed_bytes: dict[int, int] = {}
        self._drops: dict[int, int] = {}
        self._taken_bytes = 0
        self._out_of_patience = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._urgent = threading.Event()
        self._has_taken = False
        self._chunks = ChunkWriter(run)
        self._series: SeriesWriter | None = SeriesWriter()
        self._file = create_file(self.path, self._chunks.opening, overwrite=overwrite)
        self._pace = _Pace()

    @property
    def bytes_written(self) -> int:
        """Size of the file in bytes, what still waits in memory not included."""
        return self._file.size

    @property
    def dropped(self) -> int:
        """Records not taken because the disk did not keep up."""
        return sum(list(self._drops.values()))

    @property
    def detail_interval(self) -> int:
        """Every how many steps histograms, node columns and ledgers are worth their bytes: 1, 2, 4, ...

        Doubles each time half of what remained of the budget is spent.
        """
        remaining = max(self._budget_bytes - self._file.size, 1)
        return min(1 << ((self._budget_bytes // remaining).bit_length() - 1), _COARSEST_INTERVAL)

    def write(self, record: Record, *, time_ns: int, step: int = 0) -> bool:
        """Hand a record over; False when it was not taken (queue full, writer failed or closed).

        `time_ns` is when it came to be. `step` counts only for records without a step of their own.
        """
        if not self._usable():
            return False
        size = weight(record)
        if not self._has_room(record, size):
            self._drops[threading.get_ident()] = self._drops.get(threading.get_ident(), 0) + 1
            return False
        self._handed_bytes[threading.get_ident()] = self._handed_bytes.get(threading.get_ident(), 0) + size
        self._hand_over(_Handed(record, time_ns, step, size))
        return True

    def end_step(self) -> None:
        """Mark the end of a step: what was handed over is soon written."""
        if self._usable():
            self._hand_over(_StepEnd())

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was handed over is in the file; False when it is not (failure, or `timeout` s passed).

        What a flush acknowledged survives the death of the process, though not that of the machine.
        """
        if not self._usable():
            return False
        if self._thread is None:
            return self._queue.empty()
        flush = _Flush()
        self._queue.put(flush)
        self._urgent.set()
        return self._wait_for(flush.done, timeout) and self.failed is None

    def close(self, finish: Finish) -> None:
        """Write what is left, `finish`, summary and footer, and end the thread. A second call does nothing."""
        if not self._usable(even_failed=True):
            return
        self._hand_over(_Close(finish))
        self._urgent.set()
        self._closed = True
        if self._thread is None:
            self._serve()
        else:
            self._thread.join()

    def abandon(self) -> None:
        """Let go of the file in a forked child: nothing is written, the parent's recording goes on."""
        self._closed = True
        self._file.close()
        self._queue = queue.SimpleQueue()
        self._thread = None

    def _usable(self, *, even_failed: bool = False) -> bool:
        if self._process != os.getpid():
            self.abandon()
        return not self._closed and (even_failed or self.failed is None)

    def _hand_over(self, item: _Handed | _StepEnd | _Close) -> None:
        self._queue.put(item)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._serve, name="gradwatch-writer", daemon=True)
                # pydevd leaves threads with this mark running when it suspends the others.
                thread.pydev_do_not_trace = True  # type: ignore[attr-defined]  # pydevd's own attribute
                thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]  # as above
                # Near the interpreter's end no thread can be started: then the close writes everything.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _wait_for(self, done: threading.Event, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done.wait(0.2 if deadline is None else max(0.0, min(0.2, deadline - time.monotonic()))):
            thread = self._thread
            if thread is None or not thread.is_alive():
                return done.is_set()
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def _waiting_bytes(self) -> int:
        return sum(list(self._handed_bytes.values())) - self._taken_bytes

    def _has_room(self, record: Record, size: int) -> bool:
        """Whether to take a record. Those that others refer to (graphs, names, sources, steps) always are."""
        if self._waiting_bytes() + size <= QUEUE_BYTES:
            self._out_of_patience = False
            return True
        if _is_detail(record):
            return False
        if not self._out_of_patience:
            deadline = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline and self._waiting_bytes() + size > QUEUE_BYTES:
                time.sleep(0.002)
            self._out_of_patience = self._waiting_bytes() + size > QUEUE_BYTES
        return (
            not isinstance(record, Gradients | OptimizerStep | Ledger)
            or self._waiting_bytes() + size <= 2 * QUEUE_BYTES
        )

    def _serve(self) -> None:
        """Run on the thread: take what is handed over until the close."""
        while not isinstance(item := self._next_item(), _Close):
            self._guarded(lambda item=item: self._take(item))
            if isinstance(item, _Flush):
                self._urgent.clear()
                item.done.set()
        self._guarded(lambda: self._finish(item.finish))
        self._file.close()

    def _next_item(self) -> _Handed | _StepEnd | _Flush | _Close | None:
        with contextlib.suppress(queue.Empty):
            if self._queue.empty() and self._has_taken:
                self._has_taken = False
                self._urgent.wait(_REST_S)
            item = self._queue.get(timeout=self._pace.seconds_left())
            self._has_taken = True
            return item
        return None

    def _take(self, item: _Handed | _StepEnd | _Flush | None) -> None:
        if isinstance(item, _Handed):
            self._taken_bytes += item.weight
            if self.failed is None:
                if self._chunks.add(item.record, item.time_ns, item.step):
                    self._add_series(lambda series: series.add(item.record), item.time_ns)
                self._pace.something_pending()
        elif isinstance(item, _StepEnd):
            self._pace.step_ended()
        if self._is_due(item):
            self._flush_chunks()

    def _add_series(self, take: Callable[[SeriesWriter], list[Record]], time_ns: int) -> None:
        """Write the series that are whole. Where they fail the recording goes on without: readers need them not."""
        if self._series is None:
            return
        try:
            for record in take(self._series):
                self._chunks.add(record, time_ns, 0)
        except Exception as error:  # noqa: BLE001  # whatever it is, the records themselves are written
            self._series = None
            text = f"Curves are read from each step's records: {type(error).__name__}: {error}"
            self._chunks.add(Notice(kind="recorder", text=text, probe="writer"), time_ns, 0)

    def _is_due(self, item: _Handed | _StepEnd | _Flush | None) -> bool:
        pending = self._chunks.pending_bytes
        full = pending >= (_FLUSH_BYTES if isinstance(item, _StepEnd) else _LARGEST_PENDING_BYTES)
        return pending > 0 and (full or isinstance(item, _Flush) or self._pace.seconds_left() == 0)

    def _flush_chunks(self) -> None:
        self._pace.flushed()
        for chunk in self._chunks.take_chunks(self._file.size):
            self._file.append(chunk)

    def _finish(self, finish: Finish) -> None:
        if self.failed is not None:
            return
        self._add_series(SeriesWriter.finish, finish.end_ns)
        dropped = max(finish.records_dropped, self.dropped)
        self._chunks.add(replace(finish, records_dropped=dropped), finish.end_ns, finish.steps)
        self._flush_chunks()
        self._file.append(self._chunks.tail(self._file.size))
        self._file.sync()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Let no error out of the thread: after one the writer takes in no more and writes no more."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever it is, the program goes on
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.failed is not None:
            return
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        self.failed = (
            f"Recording to {self.path} stopped after {self._file.size} bytes: {reason}. What is there can be read."
        )
        if self.on_failure is not None:
            with contextlib.suppress(Exception):
                self.on_failure(self.failed)


class _Pace:
    """When to write next: at step ends, not more often than every 0.1 s (from the first hour on growing to 1 s)."""

    def __init__(self) -> None:
        self._started = self._flushed = time.monotonic()
        self._due: float | None = None

    def seconds_left(self) -> float | None:
        """Seconds until the next write is due; None when nothing waits for one."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def something_pending(self) -> None:
        if self._due is None:
            self._due = time.monotonic() + _LONGEST_INTERVAL_S

    def step_ended(self) -> None:
        if self._due is not None:
            interval = (self._flushed - self._started) * _INTERVAL_GROWTH
            interval = min(max(interval, _SHORTEST_INTERVAL_S), _LONGEST_INTERVAL_S)
            self._due = min(self._due, self._flushed + interval)

    def flushed(self) -> None:
        self._flushed = time.monotonic()
        self._due = None


def _is_detail(record: Record) -> bool:
    """Say whether nothing else refers to the record and the run's story is whole without it."""
    return isinstance(record, Histograms | Held) or (isinstance(record, Gradients) and record.subject_kind == "node")

"""The late form: what a tensor's graph holds now, read without a recorder and given back as a session in memory.

The graph is walked and its saved tensors are read as a recorder does when backward begins; nothing is
hooked, run or released. Where a recorder is running, its modules and source lines are used.
"""

from __future__ import annotations

import hashlib
import sys
from collections import ChainMap
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, TypeVar

from gradwatch.capture.environment import run_record
from gradwatch.capture.graph import roots_of
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.late_names import LateNames
from gradwatch.capture.live_graph import STEP, Reading, Witness, backward_record, notices_of, read_graph
from gradwatch.capture.names import readable_locals
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.recorder import running
from gradwatch.capture.sites import source_text
from gradwatch.errors import UsageError
from gradwatch.records import Finish, Modules, Parameters, Sites, SourceFile, Step
from gradwatch.session.reader import Gap, SessionReader
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from gradwatch.capture.recording import Recording
    from gradwatch.records import Record, Run

R = TypeVar("R")


def snapshot(value: object, *, names: Mapping[str, object] | None = None, label: str | None = None) -> Session:
    """Read the graph behind `value` into a session with one step, number 0.

    Args:
        value: a tensor that requires grad, or a tuple, list or dict with such tensors in it.
        names: variables by name, among which models and inputs are looked for. Default: the caller's.
        label: what to call `value`.

    Raises:
        UsageError: there is no graph behind `value`, or it cannot be seen.

    """
    start = perf_counter_ns()
    if names is not None:
        return _snapshot(value, names, label, start)
    frame = sys._getframe(1)  # the only way to the caller's names
    with readable_locals(frame) as local:
        return _snapshot(value, ChainMap(dict(local), frame.f_globals), label, start)


def _snapshot(value: object, namespace: Mapping[str, object], label: str | None, start: int) -> Session:
    label = label or next((name for name, held in list(namespace.items()) if held is value), "the tensor")
    roots = _roots(value, label)
    recorder = running()
    recording = None if recorder is None else recorder._recording
    names = LateNames()
    if recording is not None:
        names.add_recording(recording)
    names.add_namespace(namespace)
    read = _read(roots, names, recording)
    backward = backward_record(read)
    ending = [
        Step(STEP, "backward", backward.start_ns, backward.start_ns, 1, 0, perf_counter_ns() - start),
        Finish(backward.start_ns, "read from a live graph", 1, perf_counter_ns() - start, 0),
    ]
    run = run_record("modules", line_clock=recording is not None and recording.clock is not None)
    return LateSession(label, run, [*_records(read, names), backward, *notices_of(read), *ending])


def _roots(value: object, label: str) -> list[torch.Tensor]:
    """The tensors in `value` that have a graph. Raises UsageError saying why there are none."""
    tensors = list(tensors_within(value))
    roots = [tensor for tensor in tensors if tensor.requires_grad]
    why_not = why_unobservable(tensors)
    if why_not is not None:
        raise UsageError(f"The graph of {label} cannot be read: it is {why_not}.")
    if not tensors:
        raise UsageError(
            f"{label} is of type {type(value).__name__}, not a tensor. Name the loss, or an output of the model."
        )
    if not roots:
        raise UsageError(
            f"There is no graph behind {label}: it does not require grad. It was detached, computed under "
            "no_grad(), or from nothing that requires grad."
        )
    if all(tensor.grad_fn is None for tensor in roots):
        raise UsageError(
            f"{label} is a leaf: the graph begins at it. Name what was computed from it, such as the loss."
        )
    return roots


def _read(roots: list[torch.Tensor], names: LateNames, recording: Recording | None) -> Reading:
    if recording is None:
        return read_graph(roots_of(roots), names, None)
    return read_graph(roots_of(roots), names, Witness(recording.graph.lines, recording.sites, int))


def _records(read: Reading, names: LateNames) -> list[Record]:
    texts = {file: source_text(file) for file in dict.fromkeys(site.file for site in read.sites)}
    sources = [_source(file, text) for file, text in texts.items() if text is not None]
    held = [] if read.ledger is None else [read.ledger]
    return [Modules(names.modules), Parameters(names.parameters), Sites(read.sites), *sources, read.graph, *held]


def _source(file: str, text: str) -> SourceFile:
    return SourceFile(file, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), text)


class LateSession(Session):
    """A session of records in memory. There is no file; `path` is the name of what was read."""

    def __init__(self, label: str, run: Run, records: list[Record]) -> None:
        self.reader = RecordsInMemory(Path(label), run, records)
        self.path = self.reader.path
        self.run = run
        self.findings = ()

    def __repr__(self) -> str:
        return f"<gradwatch session: the graph of {self.path}, {len(self.graph(STEP).nodes)} nodes>"


class RecordsInMemory(SessionReader):
    """Answers as a SessionReader does, from a list of records."""

    def __init__(self, path: Path, run: Run, records: list[Record]) -> None:
        self.path = path
        self.run = run
        self.complete = True
        self._list = [run, *records]

    @property
    def finished(self) -> bool:
        return True

    @property
    def gaps(self) -> list[Gap]:
        return []

    def records(self, record_type: type[R], start_ns: int | None = None, end_ns: int | None = None) -> Iterator[R]:
        now = self.run.start_ns
        if (start_ns is None or start_ns <= now) and (end_ns is None or end_ns >= now):
            yield from (record for record in self._list if isinstance(record, record_type))

    def records_of_step(self, record_type: type[R], step: int) -> list[R]:
        return [record for record in self.records(record_type) if getattr(record, "step", STEP) == step]

    def record_with_id(self, record_type: type[R], record_id: int) -> R | None:
        return next((record for record in self.records(record_type) if getattr(record, "id", -1) == record_id), None)

    def last_step(self, record_type: type) -> int:
        return max((getattr(record, "step", STEP) for record in self._of(record_type)), default=-1)

    def count(self, record_type: type) -> int:
        return min(1, len(self._of(record_type)))

    def _of(self, record_type: type) -> list[Record]:
        return [record for record in self._list if isinstance(record, record_type)]

    def verify(self) -> list[Gap]:
        return []

    def refresh(self) -> bool:
        return False

    def close(self) -> None:
        pass

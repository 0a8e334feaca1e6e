"""The late form: what a tensor's graph holds now, read without a recorder and given back as a session in memory.

The graph is walked and its saved tensors are read as a recorder does when backward begins; nothing is
hooked, run or released. Where a recorder is running, its modules and source lines are used.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradwatch.capture.environment import run_record
from gradwatch.capture.graph import Attribution, graph_record, name_labels, roots_of, walk
from gradwatch.capture.graph_capture import (
    _distinct,  # pyright: ignore[reportPrivateUsage] # same room
    _overlay_sites,  # pyright: ignore[reportPrivateUsage] # same room
    _unobservable,  # pyright: ignore[reportPrivateUsage] # same room
)
from gradwatch.capture.held import HELD_CLASSES, bytes_by_class, class_indices, ledger_record
from gradwatch.capture.late_names import LateNames, modules_by_parameter
from gradwatch.capture.ledger import _raw_fields, read_saved, tensors_within
from gradwatch.capture.names import readable_locals
from gradwatch.capture.recorder import running
from gradwatch.capture.sites import source_text
from gradwatch.errors import UsageError
from gradwatch.records import (
    TENSOR_CLASSES,
    Backward,
    Finish,
    Modules,
    Notice,
    Parameters,
    Run,
    Site,
    Sites,
    SourceFile,
    Step,
)
from gradwatch.session.reader import Gap, SessionReader
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from torch.autograd.graph import Node

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.ledger import SavedRows
    from gradwatch.capture.recording import Recording
    from gradwatch.records import Graph, Ledger, Record

R = TypeVar("R")

STEP = 0
"""The one step of a late session; its one backward call is the one that has not been made."""

NAMED_BY_PARAMETERS = (
    "This graph was built without a recorder: modules are those whose parameters an operation uses, and "
    "source lines are not known."
)


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
    read = _read(roots, namespace, recording)
    backward = _backward(read)
    ending = [
        Step(STEP, "backward", backward.start_ns, backward.start_ns, 1, 0, perf_counter_ns() - start),
        Finish(backward.start_ns, "read from a live graph", 1, perf_counter_ns() - start, 0),
    ]
    run = run_record("modules", line_clock=recording is not None and recording.clock is not None)
    return LateSession(label, run, [*_records(read), backward, *_notices(read), *ending])


def _roots(value: object, label: str) -> list[torch.Tensor]:
    """The tensors in `value` that have a graph. Raises UsageError saying why there are none."""
    tensors = list(tensors_within(value))
    roots = [tensor for tensor in tensors if tensor.requires_grad]
    why_not = _unobservable(tensors)
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


@dataclass(frozen=True)
class _Reading:
    """What was read of a graph, and the records made of it."""

    walked: Walk
    rows: SavedRows
    classes: list[int]
    names: LateNames
    places: _Places
    graph: Graph
    ledger: Ledger
    released: int
    recorded: bool


@dataclass(frozen=True)
class _Places:
    sites: list[Site]
    sources: list[SourceFile]


def _read(roots: list[torch.Tensor], namespace: Mapping[str, object], recording: Recording | None) -> _Reading:
    walked = walk(roots_of(roots))
    rows = read_saved(walked.nodes)
    names = LateNames()
    if recording is not None:
        names.add_recording(recording)
    names.add_namespace(namespace)
    leaves = [-1] * len(walked.nodes)
    for position, leaf in walked.leaves():
        leaves[position] = names.id_of(leaf)
    attribution = _attribution(walked, rows, recording)
    recorded = bool((attribution.modules >= 0).any())
    if not recorded:
        attribution.modules = modules_by_parameter(walked, leaves, names)
    places = _places(attribution, recording)
    labels = _distinct([*name_labels(walked), *rows.labels])
    classes = class_indices(rows, names.class_of)
    return _Reading(
        walked,
        rows,
        classes,
        names,
        places,
        graph_record(0, walked, attribution, tuple(leaves), labels),
        ledger_record(0, 0, walked, rows, classes),
        released_nodes(walked.nodes),
        recorded,
    )


def released_nodes(nodes: Sequence[Node]) -> int:
    """How many nodes have let go of what they saved, because a backward call has run through them."""
    return sum(_is_released(node) for node in nodes)


def _is_released(node: Any) -> bool:
    for role, attribute in _raw_fields(node.__class__):
        raw = getattr(node, attribute)
        if isinstance(raw, (tuple, list)) or raw is None or raw.data is not None:
            continue
        try:
            getattr(node, f"_saved_{role}")  # nothing is there to unpack, so no hook is called
        except RuntimeError:
            return True
    return False


def _attribution(walked: Walk, rows: SavedRows, recording: Recording | None) -> Attribution:
    if recording is None:
        modules, sites, project = np.full((3, len(walked.nodes)), -1, np.int64)
        return Attribution(modules, sites, project, np.zeros(len(walked.nodes), np.uint8))
    attribution = recording.graph.lines.attribute(walked, threading.get_ident())
    _overlay_sites(attribution, rows)
    return attribution


def _places(attribution: Attribution, recording: Recording | None) -> _Places:
    """Sites of the nodes. They get ids of their own: those of the recording must reach its file first."""
    if recording is None:
        return _Places([], [])
    sites: dict[Any, Site] = {}
    for column in (attribution.sites, attribution.project_sites):
        for key in np.unique(column[column >= 0]).tolist():
            place = recording.sites._place(key)
            number = sites.setdefault(place, _site(len(sites), place)).id
            column[column == key] = -2 - number  # below what is still a key
        column[column < -1] = -2 - column[column < -1]
    texts = {file: source_text(file) for file in dict.fromkeys(site.file for site in sites.values())}
    return _Places(list(sites.values()), [_source(file, text) for file, text in texts.items() if text is not None])


def _site(number: int, place: Any) -> Site:
    span = (place.column, place.end_line, place.end_column)
    return Site(number, place.file, place.line, place.function, *span)


def _source(file: str, text: str) -> SourceFile:
    return SourceFile(file, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), text)


def _records(read: _Reading) -> list[Record]:
    return [
        Modules(read.names.modules),
        Parameters(read.names.parameters),
        Sites(read.places.sites),
        *read.places.sources,
        read.graph,
        read.ledger,
    ]


def _backward(read: _Reading) -> Backward:
    sizes = bytes_by_class(read.rows, read.classes)
    held = sum(size for name, size in zip(TENSOR_CLASSES, sizes, strict=True) if name in HELD_CLASSES)
    return Backward(
        step=STEP,
        index=0,
        call="backward",
        parent=-1,
        graph=0,
        ledger=0,
        start_ns=time_ns(),
        duration_ns=0,
        retain_graph=False,
        create_graph=False,
        has_inputs=False,
        thread=threading.get_ident(),
        held_bytes=held,
        class_bytes=sizes,
    )


def _notices(read: _Reading) -> list[Notice]:
    notices: list[Notice] = []
    if not read.recorded:
        notices.append(Notice("partial", NAMED_BY_PARAMETERS))
    if read.released:
        saving = sum(bool(_raw_fields(type(node))) for node in read.walked.nodes)
        notices.append(
            Notice(
                "partial",
                f"{read.released} of {saving} nodes that save tensors have let go of them: "
                "backward() has run through them already.",
            )
        )
    return notices


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

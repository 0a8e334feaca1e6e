"""Errors that autograd raises, with both lines: who saved and who overwrote, or who freed and who came second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.fault_lines import FaultLines
from gradwatch.capture.graph import Walk, roots_of, short_name, walk
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.lines import current_frame
from gradwatch.capture.observers import Observer
from gradwatch.capture.program_tensors import named_tensors
from gradwatch.capture.sites import UNKNOWN
from gradwatch.capture.torch_internals import is_functorch, sequence_number, without_function
from gradwatch.capture.version_checks import FREED, OVERWRITTEN, Unusable, unusable
from gradwatch.records import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.autograd.graph import Node

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording

NO_GRAPH = "does not require grad and does not have a grad_fn"
BAD_SHAPE = "returned an invalid gradient"

MAX_ENDED = 1000
"""Backward calls that are remembered, to name the one that freed a graph."""

NAMED_CALLS = 2
"""Calls from one line at which the names of the program's tensors are noted."""

MAX_FAULTS = 16
"""Errors of one recording that are looked into: a program may catch them and go on."""

MAX_SEEN_EARLY = 4


@dataclass(frozen=True, slots=True)
class _Ended:
    """A backward call that freed its graph: nodes numbered up to `root` that were there before `first`."""

    thread: int
    first: int
    root: int
    keys: tuple[int, int]
    names: dict[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A backward call that runs. `names` are those of the program's tensors, by the numbers of their nodes."""

    outputs: Sequence[Any]
    keys: tuple[int, int]
    root: int
    names: dict[int, str]
    early: list[Fault]


class Faults(Observer):
    """Looks at the graph of a call that failed, while it is alive; on traced steps also at that of each other."""

    name = "faults"

    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._ended: deque[_Ended] = deque(maxlen=MAX_ENDED)
        self._seen: dict[tuple[int, int], int] = {}
        self._told = 0
        self._error = 0

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._lines = FaultLines(recording)

    def stop(self) -> None:
        self._running.clear()
        self._ended.clear()

    def after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:  # noqa: ARG002 # the event's
        self._lines.optimizer_stepped(self._recording.call_sites.here(3), sequence_number())

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        if why_unobservable(outputs) is not None:
            return
        keys = self._recording.call_sites.here(3)
        root = max((node._sequence_nr() for node in _roots(outputs) if node.name() != _LEAF), default=-1)
        running = self._running[id(call)] = _Running(outputs, keys, root, self._names_now(keys), [])
        if call.walk is not None and (self._is_first(call) or self._lines.is_traced):
            for found in unusable(reversed(call.walk.nodes), "overwritten"):
                running.early.append(replace(self._in_place(call, call.walk, found), raised=False))
                if len(running.early) >= MAX_SEEN_EARLY:
                    break

    def _is_first(self, call: BackwardCall) -> bool:
        return call.index == 0 and self._recording.steps.number == 0

    def _names_now(self, keys: tuple[int, int]) -> dict[int, str]:
        """What tensors are called, at the first calls from a line: a state carried on fails at the second."""
        seen = self._seen.get(keys, 0)
        if seen >= NAMED_CALLS or len(self._seen) > MAX_ENDED:
            return {}
        self._seen[keys] = seen + 1
        found: dict[int, str] = {}
        with without_function():
            for name, tensor, _ in named_tensors(current_frame(2), self._recording.sites.origins):
                if not is_functorch(tensor) and tensor.grad_fn is not None:
                    found.setdefault(tensor.grad_fn._sequence_nr(), name)
        return found

    def backward_ends(self, call: BackwardCall) -> None:
        running = self._running.pop(id(call), None)
        if running is None:
            return
        if call.error is None:
            for fault in running.early:
                self._write(fault)
            if call.is_outermost and not call.retain_graph:
                self._ended.append(_Ended(call.thread, call.first_number, running.root, running.keys, running.names))

    def backward_fails(self, call: BackwardCall, error: BaseException) -> None:
        running = self._running.get(id(call))
        if running is None or type(error) is not RuntimeError or id(error) == self._error:
            return  # an error that an inner call raised passes through the outer one
        self._error = id(error)
        fault = self._fault(call, running, str(error))
        if fault is not None:
            self._write(replace(fault, message=str(error)))

    def _write(self, fault: Fault) -> None:
        self._told += 1
        if self._told <= MAX_FAULTS:
            self._recording.write(fault)

    def _fault(self, call: BackwardCall, running: _Running, message: str) -> Fault | None:
        if OVERWRITTEN in message:
            walked = call.walk or walk(roots_of(running.outputs))
            found = list(unusable(reversed(walked.nodes), "overwritten"))
            exact = [each for each in found if each.message == message] or found
            if exact:
                return self._in_place(call, walked, exact[0])
            return running.early[0] if running.early else self._blank(call, running, "in-place")
        if FREED in message:
            return self._second(call, running, call.walk or walk(roots_of(running.outputs)))
        if NO_GRAPH in message:
            return self._blank(call, running, "no gradient")
        return self._blank(call, running, "shape") if BAD_SHAPE in message else None

    def _blank(self, call: BackwardCall, running: _Running, kind: Any) -> Fault:
        user, project = self._lines.ids(running.keys)
        name = ""
        if running.outputs and isinstance(running.outputs[0], torch.Tensor):
            name = self._recording.namer.name_of(running.outputs[0], current_frame(1)) or ""
        return Fault(self._recording.steps.number, call.index, kind, "", user, project, "", -1, -1, name=name)

    def _in_place(self, call: BackwardCall, walked: Walk, found: Unusable) -> Fault:
        position = walked.nodes.index(found.node)
        module, saver = self._lines.of_node(walked, position, call.thread)
        writer = self._lines.of_overwriter(found, saver, call.thread)
        if saver[1] < 0 and saver[0] < 0:
            saver = self._lines.of_saver(writer.name, writer.sites)
        return Fault(
            step=self._recording.steps.number,
            backward=call.index,
            kind="in-place",
            op=short_name(found.node),
            site=saver[0],
            project_site=saver[1],
            other_op=writer.op,
            other_site=writer.sites[0],
            other_project_site=writer.sites[1],
            module=module,
            graph=call.graph,
            node=position if call.walk is walked else -1,
            name=writer.name,
            role=found.role,
            message=found.message,
        )

    def _second(self, call: BackwardCall, running: _Running, walked: Walk) -> Fault:
        freed, first = self._stopped_at(walked, call.thread)
        user, project = self._lines.ids(running.keys)
        first_user, first_project = (-1, -1) if first is None else self._lines.ids(first.keys)
        name, role = ("", "") if first is None else self._shared(walked, running, first)
        return Fault(
            step=self._recording.steps.number,
            backward=call.index,
            kind="second backward",
            op="" if freed is None else short_name(freed.node),
            site=first_user,
            project_site=first_project,
            other_op="Tensor.backward" if call.call == "backward" else "torch.autograd.grad",
            other_site=user,
            other_project_site=project,
            graph=call.graph,
            node=-1 if freed is None or call.walk is not walked else walked.nodes.index(freed.node),
            name=name,
            role=role,
        )

    def _stopped_at(self, walked: Walk, thread: int) -> tuple[Unusable | None, _Ended | None]:
        """The node that failed, and the call that freed it. What is freed above it this call itself has run."""
        for found in unusable(reversed(walked.nodes), "freed"):
            first = self._freed_by(found.node._sequence_nr(), thread)
            if first is not None:
                return found, first
        return None, None

    def _freed_by(self, number: int, thread: int) -> _Ended | None:
        """The first call that began after the node was made and started above it."""
        for ended in self._ended:
            if ended.thread == thread and ended.root >= number and ended.first > number:
                return ended
        return None

    def _shared(self, walked: Walk, running: _Running, first: _Ended) -> tuple[str, str]:
        """The Python name of what both calls go through, nearest the roots, and how it came to the second."""
        roots = _roots(running.outputs)
        if all(node._sequence_nr() <= first.root for node in roots):
            name = self._recording.namer.name_of(running.outputs[0], current_frame(1)) or ""
            return name, "same root"
        role = "carried" if first.keys == running.keys else "shared"
        shared = _boundary(walked, first.root)
        for number in shared:
            if number in first.names:
                return first.names[number], role
        return self._name_of_last(walked, first.root), role

    def _name_of_last(self, walked: Walk, last: int) -> str:
        """The name of the latest tensor, made before a number, of a graph."""
        nodes = set(walked.nodes)
        best, found = -1, ""
        with without_function():
            for name, tensor, _ in named_tensors(current_frame(1), self._recording.sites.origins):
                node = tensor.grad_fn
                number = UNKNOWN if node is None or node not in nodes else node._sequence_nr()
                if best < number <= last:
                    best, found = number, name
        return found


def _boundary(walked: Walk, last: int) -> list[int]:
    """The numbers of nodes up to `last` that a later one leads to, highest first."""
    source, target = walked.numbers[walked.edge_source], walked.numbers[walked.edge_target]
    return sorted(set(target[(source > last) & (target <= last) & (target >= 0)].tolist()), reverse=True)


_LEAF = "torch::autograd::AccumulateGrad"


def _roots(outputs: Sequence[Any]) -> list[Node]:
    return roots_of([output for output in outputs if not isinstance(output, torch.Tensor) or output.requires_grad])

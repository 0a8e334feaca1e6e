"""Graphs of past steps that are still alive: counted at every step, explained at doubling intervals."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.graph import walk
from gradwatch.capture.held import HELD_CLASSES
from gradwatch.capture.holder_groups import HolderGroups
from gradwatch.capture.holder_search import MAX_NODES_IN_ALL, Reach, Search
from gradwatch.capture.ledger import read_saved
from gradwatch.capture.lines import current_frame
from gradwatch.capture.modules import tensors_in
from gradwatch.capture.node_marks import NodeMarks, graphs
from gradwatch.capture.observers import Observer
from gradwatch.capture.sites import UNKNOWN, Place
from gradwatch.capture.storing_lines import storing_line
from gradwatch.capture.torch_internals import is_functorch, without_function
from gradwatch.records import Holder, Retained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.holder_names import HolderNames, NamedHolder
    from gradwatch.capture.node_marks import Mark, MarkKind
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

STALE_AFTER = 3
"""Steps after which a graph that is alive has outlived every use that training has for one: the next step at most
(a GAN's other loss, pipelined losses, a state carried one step)."""

FEW = 3
"""Graphs from which on they are looked into at once; fewer, when the oldest is FEW_AFTER steps old."""
FEW_AFTER = 16

MARKS_A_STEP = 8
MANY = 4096
"""Marks alive from which on only every second step is marked, at twice as many every fourth, and so on."""

MAX_GROUPS = 6
MAX_HOLDERS = 3
MAX_MADE = 64


class RetainedGraphs(Observer):
    """Marks a few nodes of each step, and says what holds those that stay."""

    name = "retained graphs"

    def __init__(self) -> None:
        self._marks = NodeMarks()
        self._step = 0
        self._left = MARKS_A_STEP
        self._next_look = 0
        self._first_look = -1
        self._inside: set[int] = set()
        self._names: dict[tuple[int, int], str] = {}
        self._creates_graph = (UNKNOWN, UNKNOWN)

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._step = recording.steps.number

    def stop(self) -> None:
        self._marks.drop()

    def step_begins(self, number: int) -> None:
        self._step = number
        every = 1 << max(0, (len(self._marks) // MANY).bit_length())
        self._left = MARKS_A_STEP if number % every == 0 else 0
        self._inside.clear()

    def module_leaves(self, number: int, module: nn.Module, output: Any) -> None:  # noqa: ARG002 # the event's
        if self._left <= 0 or not torch.is_grad_enabled():
            return
        thread = threading.get_ident()
        outermost = not self._recording.module_hooks.intervals.mine().stack
        if outermost:
            self._inside.discard(thread)
        elif thread in self._inside:
            return
        tensor = _first_with_graph(output)
        if tensor is not None:
            if not outermost:
                self._inside.add(thread)
            self._mark(tensor, "output" if outermost else "first output")

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        if call.create_graph and call.call == "backward":
            self._creates_graph = self._recording.call_sites.here(3)
        if call.is_outermost and outputs:
            tensor = _first_with_graph(outputs[0])
            if tensor is not None:
                self._mark(tensor, "root")

    def _mark(self, tensor: torch.Tensor, kind: MarkKind) -> None:
        node = tensor.grad_fn
        if node is None or (self._left <= 0 and kind != "root"):
            return
        keys = self._recording.call_sites.here(3)
        if self._marks.put(node, self._step, kind, (keys, self._name_of(tensor, keys))):
            self._left -= 1

    def _name_of(self, tensor: torch.Tensor, keys: tuple[int, int]) -> str:
        """What a line calls its tensor: looked for at the line's first time, as a look costs one at every frame."""
        name = self._names.get(keys)
        if name is None and len(self._names) < MANY:
            name = self._names[keys] = self._recording.namer.name_of(tensor, current_frame(1)) or ""
        return name or ""

    def step_ends(self, step: OpenStep) -> None:
        oldest = self._marks.oldest_step()
        if oldest is None or step.number - oldest < STALE_AFTER or step.number < self._next_look:
            return
        stale = self._marks.made_before(step.number - STALE_AFTER + 1)
        if sum(graphs(stale).values()) < FEW and step.number - oldest < FEW_AFTER:
            return
        if self._first_look < 0:
            self._first_look = step.number
        self._next_look = step.number + max(FEW, step.number - self._first_look)
        self._look(step.number, stale)

    def _look(self, step: int, stale: list[Mark]) -> None:
        wanted: dict[int, set[int]] = {}
        for mark in stale:
            wanted.setdefault(mark.number, set()).add(mark.serial)
        reach = Search(wanted).run()
        self._recording.write(self._record(step, stale, reach))

    def _record(self, step: int, stale: list[Mark], reach: Reach) -> Retained:
        by_step = graphs(stale)
        mark = _speaks_for(stale, reach)
        user, project = (self._recording.sites.site(key) for key in mark.keys)
        held, nodes = self._held(reach)
        return Retained(
            step=step,
            graphs=sum(by_step.values()),
            made=_told(sorted(by_step)),
            held_bytes=held,
            node_count=nodes,
            op=mark.op,
            site=user,
            project_site=project,
            holders=self._holders(reach, project),
            name=mark.name,
        )

    def _held(self, reach: Reach) -> tuple[int, int]:
        """What the nodes below the marks have saved and not released, up to a number of nodes; and their number."""
        if not reach.nodes:
            return -1, 0
        looks = 0

        def is_over() -> bool:
            nonlocal looks
            looks += 1
            return looks * 256 >= MAX_NODES_IN_ALL

        walked = walk(list(reach.nodes.values()), is_over)
        rows = read_saved(walked.nodes)
        classes = [self._recording.graph.class_of(address) for address in rows.storage_index]
        held = sum(size for size, kind in zip(rows.storage_bytes, classes, strict=True) if kind in HELD_CLASSES)
        return held, len(walked.nodes)

    def _holders(self, reach: Reach, made_at: int) -> list[Holder]:
        found: dict[str, Holder] = {}
        groups = HolderGroups(reach, self._recording.sites.origins)
        for tensors in groups.largest(MAX_GROUPS):
            holder = self._holder(groups.names, reach, tensors, made_at)
            alike = re.sub(r"\[[^\]]*\]", "[]", holder.chain)
            known = found.get(alike)
            if known is not None:  # a dict of dicts: as many groups as there are inner ones
                found[alike] = replace(holder, count=known.count + holder.count)
            elif holder.kind != "unknown" or not found:
                found[alike] = holder
        return list(found.values())[:MAX_HOLDERS]

    def _holder(self, names: HolderNames, reach: Reach, tensors: list[torch.Tensor], made_at: int) -> Holder:
        leaf = reach.grads.get(id(tensors[-1]))
        if leaf is not None:
            return Holder(self._gradient_of(leaf), "cycle", self._create_graph_at(), len(tensors))
        named = names.of(tensors[-1])
        if named is None:
            return Holder("", "unknown", count=len(tensors))
        kind: Any = named.kind
        return Holder(named.chain, kind, self._site_of(named, made_at), len(tensors))

    def _create_graph_at(self) -> int:
        return self._recording.sites.site(self._creates_graph[1])

    def _gradient_of(self, leaf: torch.Tensor) -> str:
        watched = self._recording.parameters.find(leaf)
        name = None if watched is None else self._recording.parameters.name_of(watched.id)
        return f"{name or 'a parameter'}.grad"

    def _site_of(self, named: NamedHolder, made_at: int) -> int:
        """The line that stores under a name, where the source tells; else where the name stands."""
        sites = self._recording.sites
        place = sites.places().get(made_at)
        made_in = "" if place is None else place.file
        if named.kind != "traceback":
            for file in dict.fromkeys((named.file, made_in)):
                line = storing_line(file, named.chain) if file else -1
                if line >= 0:
                    return sites.site_at(Place(file, named.function if file == named.file else "", line))
        if named.file and named.line >= 0:
            return sites.site_at(Place(named.file, named.function, named.line))
        return -1


def _first_with_graph(output: Any) -> torch.Tensor | None:
    if type(output) is torch.Tensor:
        return None if output.grad_fn is None or is_functorch(output) else output
    with without_function():  # subclasses of the program's would see what is asked of them
        for _, tensor in tensors_in(output):
            if not is_functorch(tensor) and tensor.grad_fn is not None:
                return tensor
    return None


def _told(steps: list[int]) -> list[int]:
    """The first of the steps and the latest, as many as are written: they tell from where to where."""
    return steps if len(steps) <= MAX_MADE else [steps[0], *steps[1 - MAX_MADE :]]


def _speaks_for(stale: list[Mark], reach: Reach) -> Mark:
    """The mark whose line is told: of a root that backward began at, if one is held; else of what is held."""
    held = [mark for mark in stale if mark.serial in reach.nodes] or stale
    order = ("root", "output", "first output")
    return min(held, key=lambda mark: (order.index(mark.kind), -mark.serial))

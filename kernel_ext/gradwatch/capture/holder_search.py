"""Looks for the tensors whose graphs lead to marked nodes: what keeps a graph alive is, in Python, always one.

It looks through every object that Python's collector knows of (tens of milliseconds), so it runs at doubling
intervals only. Nothing that it meets outlives the look.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from time import thread_time
from typing import TYPE_CHECKING

import torch

from gradwatch.capture.node_marks import serial_of
from gradwatch.capture.torch_internals import is_functorch, without_function

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.autograd.graph import Node

MAX_SECONDS = 0.25
MAX_NODES = 1000
"""Nodes walked below one tensor: the wrapper of each takes part in freeing it, see deep_graphs.py."""
MAX_NODES_IN_ALL = 20_000


@dataclass(eq=False)
class Reach:
    """Tensors that lead to the marked nodes asked for, with the serial numbers of those; and the nodes."""

    tensors: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    serials: dict[int, set[int]] = field(default_factory=dict[int, "set[int]"])
    nodes: dict[int, Node] = field(default_factory=dict[int, "Node"])
    grads: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    complete: bool = True

    def add(self, tensor: torch.Tensor, serials: set[int]) -> None:
        self.tensors.append(tensor)
        self.serials[id(tensor)] = serials


class Search:
    """One look for what leads to marks: `wanted` maps the sequence numbers of their nodes to their serial numbers."""

    def __init__(self, wanted: dict[int, set[int]]) -> None:
        self._wanted = wanted
        self._first = min(wanted, default=0)
        self._left = MAX_NODES_IN_ALL
        self.found = Reach()

    def run(self) -> Reach:
        """Look through all tensors that Python knows of."""
        with without_function():  # subclasses of the program's would see what is asked of them
            others = self._with_their_own(tensors_alive())
            others.sort(key=self._turn)
            ends = thread_time() + MAX_SECONDS  # from here: how many other objects there are must not matter
            for tensor, node in others:
                if self._left <= 0 or thread_time() > ends:
                    self.found.complete = False
                    break
                serials = self._below(node)
                if serials:
                    self.found.add(tensor, serials)
        return self.found

    def _with_their_own(self, tensors: Iterable[torch.Tensor]) -> list[tuple[torch.Tensor, Node]]:
        """Take in the tensors that a marked node itself made. Returns the others that have a graph."""
        others: list[tuple[torch.Tensor, Node]] = []
        for tensor in tensors:
            if is_functorch(tensor):
                continue
            node = tensor.grad_fn
            if node is None:
                self._note_grad(tensor)
            elif (serial := self._mark_of(node)) is not None:
                self.found.add(tensor, {serial})
                self.found.nodes[serial] = node
            else:
                others.append((tensor, node))
        return others

    def _turn(self, other: tuple[torch.Tensor, Node]) -> tuple[bool, int]:
        """Nearest above the marks first, as far as may be told: a node's number is above those below it, on a thread.

        Otherwise graphs that have nothing to do with the marks, older or of the step at hand, use up the search.
        """
        number = other[1]._sequence_nr()  # no public getter
        return number < self._first, number

    def _note_grad(self, tensor: torch.Tensor) -> None:
        gradient = tensor.grad if tensor.requires_grad else None
        if gradient is not None and gradient.grad_fn is not None:
            self.found.grads[id(gradient)] = tensor

    def _mark_of(self, node: Node) -> int | None:
        serials = self._wanted.get(node._sequence_nr())  # no public getter
        if serials is None:
            return None
        serial = serial_of(node)
        return serial if serial in serials else None

    def _below(self, root: Node) -> set[int]:
        """The marks that are met first on the ways down from a node, nearest first, up to a limit."""
        found: set[int] = set()
        seen, queue = {root}, [root]
        for node in queue:  # grows while it is walked
            if len(seen) > MAX_NODES:
                break
            for below, _ in node.next_functions:
                if below is None or below in seen:
                    continue
                seen.add(below)
                queue.append(below)
                serial = self._mark_of(below)
                if serial is not None:
                    found.add(serial)
                    self.found.nodes[serial] = below
        self._left -= len(seen)
        return found


def tensors_alive() -> list[torch.Tensor]:
    """Every tensor that Python's collector knows of. Asks the type: proxies answer `isinstance` with what they hold."""
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]

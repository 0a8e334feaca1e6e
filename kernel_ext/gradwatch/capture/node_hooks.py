# pyright: reportPrivateUsage=false
"""Reads the gradients that arrive at nodes of one backward call: one hook, and one dict of hooks, for all of them.

`Node.register_prehook` makes an OrderedDict, a handle and a weak reference for each node of each step: 1.5 µs, and
enough containers to bring a full garbage collection every few dozen steps. `Node._register_hook_dict` takes the dict
of a tensor instead, which many nodes can share (0.3 µs, and nothing is made): what `Tensor.register_hook` is built on.
Which node a gradient has arrived at is asked of the engine. A hook of this kind sees one output's gradient, and one
dict serves outputs of one number: nodes that are awaited at another output than their first get prehooks.

`reportPrivateUsage` is off because torch shares dicts of hooks by no public name.
"""

from __future__ import annotations

from collections import OrderedDict
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from gradwatch.capture.torch_internals import current_node, is_compiling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.autograd.graph import Node

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.probes import Cost, Probe

Awaited: TypeAlias = "tuple[int, Sequence[int]]"
"""Whose gradient an output's is: the node's position in the walk (-1: not recorded), and ids of module outputs."""


class NodeHooks:
    """Hooks on nodes of one backward call. `remove` them when it has ended: graphs may outlive it."""

    def __init__(self, call: BackwardCall, told: tuple[Probe, Cost]) -> None:
        self._call = call
        self._probe, self._cost = told
        self._first: dict[Node, Awaited] = {}
        self._handles: list[Any] = []
        self._hooks: OrderedDict[int, Callable[[Tensor | None], None]] = OrderedDict()
        self._carrier: Any = None

    def add(self, node: Any, outputs: dict[int, Awaited]) -> None:
        """Read what arrives at a node, by the number of its output."""
        if len(outputs) > 1 or 0 not in outputs:
            self._handles.append(node.register_prehook(self._prehook(outputs)))
            return
        if self._carrier is None:
            self._hooks[0] = self._hook()
            self._carrier = torch.empty(0, device="cpu")
            self._carrier._backward_hooks = self._hooks
        self._first[node] = outputs[0]
        node._register_hook_dict(self._carrier)

    def __len__(self) -> int:
        """How many nodes are hooked."""
        return len(self._first) + len(self._handles)

    def remove(self) -> None:
        """Nodes that live on keep an empty dict."""
        self._hooks.clear()
        self._first.clear()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self) -> Callable[[Tensor | None], None]:
        probe, cost, awaited, noted = self._probe, self._cost, self._first, self._note

        def hook(gradient: Tensor | None) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                if gradient is not None:
                    noted(awaited[current_node()], gradient)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        return hook

    def _prehook(self, outputs: dict[int, Awaited]) -> Callable[[Sequence[Tensor | None]], None]:
        probe, cost, noted = self._probe, self._cost, self._note

        def prehook(gradients: Sequence[Tensor | None]) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                for output_nr, awaited in outputs.items():
                    gradient = gradients[output_nr]
                    if gradient is not None:
                        noted(awaited, gradient)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        return prehook

    def _note(self, awaited: Awaited, gradient: Tensor) -> None:
        call = self._call
        position, subjects = awaited
        row = call.rows.add(gradient)
        if position >= 0:
            call.node_rows.append((position, row))
        for subject in subjects:
            call.module_rows.append((subject, row))

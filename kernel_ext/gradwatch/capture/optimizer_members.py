"""Which parameters each optimizer updates, and which of its tensors no recorded module has."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from gradwatch.capture.graph import column
from gradwatch.capture.observers import Observer
from gradwatch.capture.shapes import shape_of
from gradwatch.records import ForeignParameter, OptimizerMembers

if TYPE_CHECKING:
    import torch

    from gradwatch.capture.parameters import Watched
    from gradwatch.capture.recording import Recording

MAX_FOREIGN = 1000


class WrittenMembers(Observer):
    """OptimizerMembers at an optimizer's first step, and when its groups have changed since."""

    name = "optimizer members"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._seen: dict[int, tuple[int, ...]] = {}
        self._optimizers: dict[int, weakref.ref[torch.optim.Optimizer]] = {}

    def before_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        state = _state_of(optimizer, self._recording.parameters.count)
        if self._seen.get(number) == state:
            return
        self._seen[number] = state
        self._optimizers[number] = weakref.ref(optimizer)
        self._recording.write(self._record(optimizer, number))

    def _record(self, optimizer: torch.optim.Optimizer, number: int) -> OptimizerMembers:
        table = self._recording.parameters
        found = [(leaf, table.find(leaf)) for group in optimizer.param_groups for leaf in group["params"]]
        modules = self._recording.modules.by_id()
        known = {watched.id for leaf, watched in found if watched is not None and self._is_held(leaf, watched, modules)}
        others = [leaf for leaf, watched in found if watched is None or watched.id not in known]
        return OptimizerMembers(
            step=self._recording.steps.number,
            optimizer=number,
            optimizer_class=type(optimizer).__name__,
            parameters=column(sorted({watched.id for _, watched in found if watched is not None}), "<u4"),
            foreign=self._foreign(others[:MAX_FOREIGN], known),
        )

    def _is_held(self, leaf: torch.Tensor, watched: Watched, modules: dict[int, Any]) -> bool:
        """Whether the module that a parameter was found in has it still."""
        found = modules.get(self._recording.parameters.module_of(watched.id))
        return found is not None and any(leaf is own for own in found[0]._parameters.values())

    def _foreign(self, others: list[torch.Tensor], known: set[int]) -> list[ForeignParameter]:
        taken = set(known)
        for reference in list(self._optimizers.values()):  # other threads may add theirs
            optimizer = reference()
            leaves = [] if optimizer is None else [each for group in optimizer.param_groups for each in group["params"]]
            taken |= {watched.id for leaf in leaves if (watched := self._recording.parameters.find(leaf)) is not None}
        foreign: list[ForeignParameter] = []
        for leaf in others:
            shape, dtype = list(shape_of(leaf)), str(leaf.dtype).removeprefix("torch.")
            like = self._recording.parameters.like(shape, dtype, taken)
            taken.add(like)
            foreign.append(ForeignParameter(shape, dtype, like))
        return foreign


def _state_of(optimizer: torch.optim.Optimizer, count: int) -> tuple[int, ...]:
    """What tells, cheaply, that its groups are other ones: lists, their lengths and ends, and how many are known."""
    state: list[int] = [count]
    for group in optimizer.param_groups:
        leaves: list[Any] = group["params"]
        state += [id(leaves), len(leaves), id(leaves[0]) if leaves else 0, id(leaves[-1]) if leaves else 0]
    return tuple(state)

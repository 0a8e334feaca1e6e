"""How many optimizer steps a program has made, as far as a stop can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from gradwatch.capture.attach import attachment
from gradwatch.capture.inside import instance_dict, parameters_of
from gradwatch.capture.statistics_layout import PLAIN_TYPES
from gradwatch.capture.witnesses import running_recorder

if TYPE_CHECKING:
    from gradwatch.capture.scope import Scope

MAX_COUNTERS = 100
"""Parameters of an optimizer whose own step counts are read: all say the same, but for some that came late."""
_OWN = 1

Counts = tuple[int, int, int, int]
"""Steps as a recorder counts them, as the parameter's optimizer does (0: it has none yet, or never counts), as what
the first stop attached does, and, where none of these counts, the number of the stop. -1: not there. Only counts of
one counter compare."""


class StepCounts:
    """What counts steps at one stop."""

    def __init__(self, scope: Scope, stop: int) -> None:
        recorder, attached = running_recorder(), attachment()
        self._recorder = -1 if recorder is None else recorder.step_number
        self._attached = -1 if attached is None else max(list(attached.steps.values()), default=0)
        self._stop = stop
        self._own: dict[int, int] = {}
        for reached in scope.optimizers:
            count = _own_count(reached.value)
            self._own.update((id(tensor), count) for _, tensor in parameters_of(reached.value))
        self._highest = max(self._own.values(), default=0)

    @property
    def step(self) -> int:
        """The recorder's step, else the steps that an optimizer in scope has counted; -1 where neither is known."""
        return self._recorder if self._recorder >= 0 else self._highest or -1

    @property
    def unit(self) -> Literal["steps", "stops"]:
        return "steps" if self._highest or max(self._recorder, self._attached) >= 0 else "stops"

    def of(self, leaf: torch.Tensor) -> Counts:
        stop = self._stop if self.unit == "stops" else -1
        return (self._recorder, self._own.get(id(leaf), -1), self._attached, stop)


def steps_between(now: Counts, then: Counts) -> int:
    """Steps from `then` to `now`, by the first counter that counted both times; 0 where none did."""
    for counter, (late, early) in enumerate(zip(now, then, strict=True)):
        if 0 <= early <= late and (late or counter != _OWN):
            return late - early
    return 0


def _own_count(optimizer: Any) -> int:
    """What the optimizer itself counts (Adam does, plain SGD does not), read only where it is on the host."""
    state = instance_dict(optimizer).get("state")
    if not isinstance(state, dict):
        return 0
    best = 0
    for (_, tensor), _ in zip(parameters_of(optimizer), range(MAX_COUNTERS), strict=False):
        if type(tensor) in PLAIN_TYPES:  # the key's hash is torch's own
            entry: Any = dict.get(state, tensor)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # the program's dict
            step: Any = dict.get(entry, "step") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # likewise
            best = max(best, _number(step))
    return best


def _number(step: Any) -> int:
    if type(step) in PLAIN_TYPES:
        held = step.is_cpu and step.numel() == 1 and step.layout is torch.strided and step.untyped_storage().nbytes()
        return int(step.detach().item()) if held else 0
    return int(step) if type(step) in (int, float) else 0

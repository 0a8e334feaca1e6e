"""Which backward calls make up a step.

A step ends when every optimizer of the step before has stepped: a GAN's two optimizers share one, and
micro-batches before one optimizer step belong together. Where there is no optimizer, each outermost
`.backward()` is a step; where there is one whose steps no hook sees (a compiled step runs none), a step ends
when parameters were found changed. Once `recorder.step()` was called, it alone decides.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from threading import RLock
from time import time_ns
from typing import TYPE_CHECKING

import torch

from gradwatch.capture.loss_scale import Omission

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.updates import MeasuredStep
    from gradwatch.records import StepSource


MAX_MICRO_BATCHES = 1000
"""More calls than this without an optimizer step are steps of their own, even if an optimizer exists."""


@dataclass(slots=True)
class OpenStep:
    """A step that has not ended."""

    number: int
    start_ns: int
    calls: list[BackwardCall] = field(default_factory=list["BackwardCall"])
    optimizers: list[MeasuredStep] = field(default_factory=list["MeasuredStep"])
    stepped: list[int] = field(default_factory=list[int])
    omissions: list[Omission] = field(default_factory=list[Omission])


class Steps:
    """Gathers calls and optimizer steps; hands each step that ends to `close`."""

    def __init__(
        self,
        close: Callable[[OpenStep, StepSource, int], None],
        optimizes: Callable[[torch.optim.Optimizer, list[BackwardCall]], bool],
        versions: Callable[[], list[int]] = list,
    ) -> None:
        self._versions = versions
        self._versions_seen: list[int] | None = None
        self._by_change = False
        self._hooks_fire = False
        self._close = close
        self._optimizes = optimizes
        self._open = OpenStep(0, time_ns())
        self._loose: list[BackwardCall] = []
        self._expected: set[int] = set()
        self._source: StepSource | None = None
        self._optimizers_exist: bool | None = None
        # Reentrant: closing a step may run a finalizer of the program that calls backward.
        self._lock = RLock()

    @property
    def number(self) -> int:
        """The step that is open now."""
        return self._open.number

    @property
    def is_at_beginning(self) -> bool:
        """Whether the open step has no call yet, ended or not."""
        return not (self._loose or self._open.calls or self._open.stepped)

    def latest_call(self) -> BackwardCall | None:
        """The last backward call that no step has claimed yet."""
        return self._loose[-1] if self._loose else None

    def call_began(self, call: BackwardCall) -> None:
        """A backward call begins: calls since the last optimizer step are loose until one claims them."""
        with self._lock:
            if call.is_outermost and not self._hooks_fire and (self._source is None or self._by_change):
                self._look_for_change()
            call.index = len(self._open.calls) + len(self._loose)
            self._loose.append(call)

    def call_ended(self, call: BackwardCall) -> None:
        """A backward call ended. May end the step, where backward calls are the steps."""
        with self._lock:
            self._call_ended(call)

    def _call_ended(self, call: BackwardCall) -> None:
        if call.stepped_inside:
            self._claim()
        if not call.is_outermost or self._is_running():
            return
        self._versions_seen = self._versions() if self._source is None or self._by_change else None
        if self._source == "optimizer" and self._all_stepped():
            self._claim()
            self._end("optimizer")  # the optimizers stepped inside this call's hooks
        elif self._source is None and self._outermost_loose() > 1 and not self._awaits_optimizer():
            self._source = "backward"
            self._split_loose()
        elif self._source == "backward" and not self._by_change and _ends_a_step(call):
            self._claim()
            self._end("backward")

    def _look_for_change(self) -> None:
        """End the step where parameters changed since the last call: an optimizer stepped, and no hook saw it."""
        if all(call.call == "grad" for call in self._loose):
            return  # no optimizer would use what they gave
        if self._is_running() or self._versions_seen in (None, self._versions()):
            return
        if self._by_change or self._optimizer_in_sight():
            self._source, self._by_change = "backward", True
            self._claim()
            self._end("backward")

    def optimizer_begins(self) -> None:
        """An optimizer's hooks run: it will say when it stepped. Until then parameters may change between calls."""
        self._hooks_fire, self._by_change = True, False

    def optimizer_stepped(self, optimizer: int, measured: MeasuredStep | Omission | None) -> None:
        """An optimizer stepped, or a scaler saw to it that it did not: its step claims the loose calls."""
        with self._lock:
            self._optimizer_stepped(optimizer, measured)

    def _optimizer_stepped(self, optimizer: int, measured: MeasuredStep | Omission | None) -> None:
        if self._source in (None, "backward"):
            self._source = "optimizer"
            self.optimizer_begins()
        if self._source == "optimizer" and optimizer in self._open.stepped:
            self._end("optimizer")
        self._claim()
        for call in self._loose:
            call.stepped_inside = True
        self._open.stepped.append(optimizer)
        if isinstance(measured, Omission):
            self._open.omissions.append(measured)
        elif measured is not None:
            self._open.optimizers.append(measured)
        if self._source == "optimizer" and not self._is_running() and self._all_stepped():
            self._end("optimizer")

    def explicit(self) -> None:
        """The program called `recorder.step()`."""
        with self._lock:
            self._source = "recorder.step"
            self._claim()
            self._end("recorder.step")

    def begin(self) -> None:
        """The program says that a step begins here: what happened before is one of its own."""
        with self._lock:
            self._source = "recorder.step"
            self._claim()
            if not self.is_at_beginning:
                self._end("recorder.step")

    def finish(self) -> None:
        """End what is open, if anything happened in it."""
        with self._lock:
            self._finish()

    def _finish(self) -> None:
        if self._source is None and self._outermost_loose() and not self._awaits_optimizer():
            self._source = "backward"
            self._split_loose()
        self._claim()
        if self._open.calls or self._open.stepped:
            self._end(self._source or "optimizer")

    def _all_stepped(self) -> bool:
        return bool(self._expected) and self._expected <= set(self._open.stepped)

    def _is_running(self) -> bool:
        return any(not call.ended for call in self._loose)

    def _claim(self) -> None:
        # A call that still runs, on another thread or around an optimizer inside its hooks, is claimed later.
        for call in self._take_ended():
            call.index = len(self._open.calls)
            self._open.calls.append(call)

    def _take_ended(self) -> list[BackwardCall]:
        """The loose calls that ended. Each is asked once: another thread may end it while this one looks."""
        ended: list[BackwardCall] = []
        running: list[BackwardCall] = []
        for call in self._loose:
            (ended if call.ended else running).append(call)
        self._loose = running
        return ended

    def _end(self, source: StepSource) -> None:
        ended = self._open
        if ended.stepped:
            self._expected = set(ended.stepped)
        now = time_ns()
        self._open = OpenStep(ended.number + 1, now)
        for index, call in enumerate(self._loose):
            call.index = index
        self._close(ended, source, now)

    def _outermost_loose(self) -> int:
        return sum(call.is_outermost for call in self._loose)

    def _split_loose(self) -> None:
        # A call that began inside another follows it: a step ends before the next that would end one.
        ends = False
        for call in self._take_ended():
            is_next = call.is_outermost and _ends_a_step(call)
            if is_next and ends:
                self._end("backward")
            ends = ends or is_next
            call.index = len(self._open.calls)
            self._open.calls.append(call)
        if ends:
            self._end("backward")

    def _awaits_optimizer(self) -> bool:
        return self._outermost_loose() <= MAX_MICRO_BATCHES and self._optimizer_in_sight()

    def _optimizer_in_sight(self) -> bool:
        # Only when two calls came with no optimizer step between: looking costs 50 ms, once.
        if self._optimizers_exist is None:
            optimizers = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.optim.Optimizer)]
            self._optimizers_exist = any(self._optimizes(optimizer, self._loose) for optimizer in optimizers)
        return self._optimizers_exist


def _ends_a_step(call: BackwardCall) -> bool:
    """`autograd.grad(create_graph=True)` is a part of the step that uses its result."""
    return not (call.call == "grad" and call.create_graph)

"""Counts module calls of a step and measures their time in the forward."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from gradwatch.capture.device_values import is_capturing
from gradwatch.capture.graph import column
from gradwatch.capture.observers import Observer
from gradwatch.records import ModuleCalls

if TYPE_CHECKING:
    from torch import nn

    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

MAX_EVENTS = 4000
"""Pairs of device events of a step: calls beyond have no time."""


@dataclass(slots=True)
class _Counted:
    calls: int = 0
    without_grad: int = 0
    training: bool = False
    nanoseconds: int = 0
    depth: int = 0
    timed: bool = True

    def add(self, other: _Counted) -> None:
        """Take in what was counted later."""
        self.calls += other.calls
        self.without_grad += other.without_grad
        self.training = other.training
        self.nanoseconds += other.nanoseconds
        self.timed &= other.timed


class _Timed(NamedTuple):
    """A module call, by the module's id, between two events of a device's stream."""

    module: int
    begin: Any
    end: Any


class CountedModuleCalls(Observer):
    """ModuleCalls of steps whose details are written."""

    name = "module calls"

    def __init__(self) -> None:
        self._detailed = True
        self._open: dict[int, list[tuple[int, int, Any]]] = {}
        self._counted: dict[int, _Counted] = {}
        self._events: list[_Timed] = []
        self._stepped: set[int] = set()
        self._done: dict[int, _Counted] = {}
        self._done_events: list[_Timed] = []
        self._waiting: list[tuple[int, dict[int, _Counted], list[_Timed]]] = []

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._has_stream = torch.cuda.is_available()

    def step_begins(self, number: int) -> None:
        self._write_ready()
        self._detailed = number % self._recording.writer.detail_interval == 0
        if not self._detailed:
            self._counted, self._events = {}, []

    def after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:  # noqa: ARG002 # the event's
        # Calls after its last optimizer belong to the next step, though a first step is known to have ended only when
        # an optimizer steps again.
        if self._detailed and number not in self._stepped:
            self._stepped.add(number)
            for module, counted in self._taken():
                self._done.setdefault(module, _Counted()).add(counted)
            self._done_events += self._events
            self._events = []

    def _taken(self) -> list[tuple[int, _Counted]]:
        """What was counted up to now, in one piece: other threads may count meanwhile."""
        counted, self._counted = self._counted, {}
        return list(counted.items())

    def module_enters(self, number: int, module: nn.Module, arguments: Any) -> None:  # noqa: ARG002 # the event's
        if not self._detailed:
            return
        counted = self._counted.get(number)
        if counted is None:
            counted = self._counted[number] = _Counted()
        counted.calls += 1
        counted.without_grad += not torch.is_grad_enabled()
        counted.training = bool(module.__dict__.get("training"))
        counted.depth += 1
        stack = self._open.setdefault(threading.get_ident(), [])
        stack.append((number, perf_counter_ns(), self._event()))

    def module_leaves(self, number: int, module: nn.Module, output: Any) -> None:  # noqa: ARG002 # the event's
        stack = self._open.get(threading.get_ident())
        if not self._detailed or not stack:
            return
        now = perf_counter_ns()
        while stack:  # what lies above was left by an exception
            found, began, event = stack.pop()
            counted = self._counted.get(found)
            if counted is not None:
                counted.depth -= 1
            if found == number:
                if counted is not None and counted.depth == 0:  # a module that calls itself is inside its own time
                    self._took(counted, _Timed(number, event, None), now - began)
                return
            if counted is not None:
                counted.timed = False

    def _event(self) -> Any:
        if not self._has_stream or len(self._events) >= MAX_EVENTS:
            return None
        if not torch.cuda.is_initialized() or is_capturing():
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _took(self, counted: _Counted, call: _Timed, nanoseconds: int) -> None:
        if call.begin is None:
            if self._has_stream and torch.cuda.is_initialized():
                counted.timed = False
            counted.nanoseconds += nanoseconds
            return
        end = self._event()
        if end is None:
            counted.timed = False
        else:
            self._events.append(call._replace(end=end))

    def step_ends(self, step: OpenStep) -> None:
        if not self._stepped:
            self._done, self._done_events, self._counted, self._events = self._counted, self._events, {}, []
        if self._detailed and self._done:
            self._waiting.append((step.number, self._done, self._done_events))
        self._done, self._done_events, self._stepped = {}, [], set()
        self._write_ready()

    def stop(self) -> None:
        self._write_ready(last=True)

    def _write_ready(self, *, last: bool = False) -> None:
        """Write steps whose events have come. `last`: the others without their times, since nobody waits."""
        while self._waiting:
            step, counted, timed = self._waiting[0]
            if timed and (is_capturing() or not all(each.end.query() for each in timed)):
                if not last:
                    return
                for each in timed:
                    counted[each.module].timed = False
                timed = []
            del self._waiting[0]
            for each in timed:
                counted[each.module].nanoseconds += int(each.begin.elapsed_time(each.end) * 1e6)
            self._recording.write(self._record(step, counted))

    def _record(self, step: int, counted: dict[int, _Counted]) -> ModuleCalls:
        known = sorted({*self._recording.modules.by_id(), *counted})
        rows = [(number, counted.get(number) or _Counted()) for number in known]
        return ModuleCalls(
            step=step,
            modules=column([number for number, _ in rows], "<i4"),
            calls=column([row.calls for _, row in rows], "<u4"),
            without_grad=column([row.without_grad for _, row in rows], "<u4"),
            training=column([row.training for _, row in rows], "|u1"),
            forward_ns=column([row.nanoseconds if row.timed and row.calls else -1 for _, row in rows], "<i8"),
        )

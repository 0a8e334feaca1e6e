"""Sees every call into autograd's engine, by standing in for torch's own Python entry to it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from gradwatch.capture import engine_entry
from gradwatch.capture.torch_internals import graph_task, is_tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gradwatch.capture.graph import Walk
    from gradwatch.capture.held import PackCurve
    from gradwatch.capture.ledger import SavedRows
    from gradwatch.capture.loss_scale import LossReading
    from gradwatch.capture.parameters import GradientState
    from gradwatch.capture.statistics import StatisticRows
    from gradwatch.records import Call


@dataclass(slots=True, eq=False)
class BackwardCall:
    """One call, while it runs and until its step is written. Rows are (subject id, statistics row)."""

    call: Call
    parent: BackwardCall | None
    thread: int
    rows: StatisticRows
    retain_graph: bool
    create_graph: bool
    has_inputs: bool
    start_ns: int = field(default_factory=time.time_ns)
    start: int = field(default_factory=perf_counter_ns)
    end: int = 0
    index: int = -1
    graph: int = -1
    ledger: int = -1
    loss: LossReading | None = None
    error: str | None = None
    unobserved: str | None = None
    walk: Walk | None = None
    saved: SavedRows | None = None
    class_bytes: list[int] = field(default_factory=list[int])
    held_bytes: int = -1
    ended: bool = False
    stepped_inside: bool = False
    sees_local: bool = False
    outputs: Sequence[Any] = ()
    leaves: set[int] = field(default_factory=set[int])
    overlaps: list[BackwardCall] = field(default_factory=list["BackwardCall"])
    gradient_states: list[GradientState] = field(default_factory=list["GradientState"])
    read_early: set[int] = field(default_factory=set[int])
    parameter_rows: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    local_rows: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    module_rows: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    node_rows: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    node_hooks: list[Any] = field(default_factory=list[Any])
    classes: list[int] = field(default_factory=list[int])
    curve: PackCurve | None = None
    order: NDArray[np.int64] | None = None
    detailed: bool = True
    first_number: int = 0

    @property
    def is_outermost(self) -> bool:
        return self.parent is None


class BackwardCalls:
    """Takes part in every call into the engine (see engine_entry); `begin`, `end` and `failed` never raise."""

    def __init__(
        self,
        begin: Callable[[Sequence[Any], dict[str, Any]], BackwardCall | None],
        end: Callable[[BackwardCall], None],
        failed: Callable[[BackwardCall, BaseException], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._failed = failed
        self._local = threading.local()
        self.active: list[BackwardCall] = []

    def start(self) -> None:
        engine_entry.join(self._standing_in_for)

    def stop(self) -> None:
        engine_entry.leave(self._standing_in_for)

    def current(self) -> BackwardCall | None:
        """The call that the hook now running belongs to.

        With several at once: the innermost of this thread; on a device thread, the latest begun.
        """
        active = self.active
        if len(active) < 2:
            return active[0] if active else None
        mine: list[BackwardCall] = getattr(self._local, "stack", [])
        return mine[-1] if mine else active[-1]

    def enclosing(self) -> BackwardCall | None:
        """The call inside which this thread is running, if it is."""
        return self.current() if graph_task() != -1 else None

    def _standing_in_for(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _engine_run_backward(t_outputs: Sequence[Any], *arguments: Any, **options: Any) -> Any:
            if is_tracing():
                return original(t_outputs, *arguments, **options)
            call = self._begin(t_outputs, engine_entry.engine_options(arguments, options))
            if call is None:
                return original(t_outputs, *arguments, **options)
            stack = self._enter(call)
            try:
                return original(t_outputs, *arguments, **options)
            except BaseException as error:
                call.error = type(error).__name__
                self._failed(call, error)
                raise
            finally:
                call.end = perf_counter_ns()
                stack.pop()
                self._end(call)
                self.active.remove(call)

        return _engine_run_backward

    def _enter(self, call: BackwardCall) -> list[BackwardCall]:
        try:
            stack: list[BackwardCall] = self._local.stack
        except AttributeError:
            stack = self._local.stack = []
        stack.append(call)
        self.active.append(call)
        return stack

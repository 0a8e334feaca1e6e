"""The forward trace: one step whose every op is seen as the program calls it.

On in the first step of a recording, and in later whole steps where a parameter got no gradient that no trace explains
yet, or where another observer asks. Never beside the compiler: its code guards the stack of modes.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradwatch.capture import compiled_calls
from gradwatch.capture.lines import current_frame
from gradwatch.capture.observers import Observer
from gradwatch.capture.origins import LIBRARY
from gradwatch.capture.probes import Probe
from gradwatch.capture.torch_internals import (
    compiled_autograd,
    graph_task,
    is_tracing,
    sequence_number,
    tracing_state,
)
from gradwatch.capture.trace_flow import Call, Flow, tensors_in, version_of
from gradwatch.capture.trace_mode import OpMode
from gradwatch.capture.trace_names import ResultNames
from gradwatch.capture.trace_ops import OpKind, kind_of
from gradwatch.capture.trace_record import NodeLines, lines_of, trace_record
from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.graph import Walk
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep
    from gradwatch.capture.trace_flow import Keys, Wrote
    from gradwatch.records import Trace, TraceReason

TRACED = -1
"""In the place of a module's id: torch.jit.trace is at work."""
MAX_TRACES = 8
"""Traced steps of a recording, beside its first. Each waits twice as long as the one before."""

COMPILED = (
    "Ops are not followed one by one (why a gradient is missing, lines of ops): the program uses torch.compile, whose "
    "code would be compiled again."
)
OTHER_THREAD = (
    "A graph was made on another thread than the one that is traced: its ops have the lines of their modules only."
)

_torch: Any = torch
_APPLY: CodeType = _torch.autograd.Function.apply.__func__.__code__
_FAST_PATHS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
_interpreters: Callable[[], Any] = getattr(
    getattr(torch._C, "_functorch", None), "peek_interpreter_stack", lambda: None
)
_no_function: Any = torch._C.DisableTorchFunction


class ForwardTrace(Observer):
    """Writes a Trace of each step that it was on in, and tells other observers what it sees while it is on."""

    name = "trace"

    def __init__(self) -> None:
        self.active = False
        self._flow = Flow()
        self._mode = OpMode(self._before, self._after)
        self._kinds: dict[Any, OpKind] = {}
        self._reason: TraceReason = "first step"
        self._asked: TraceReason | None = "first step"
        self._explained: set[frozenset[int]] = set()
        self._looked_at: tuple[int, int] = (-1, -1)
        self._traces = 0
        self._next = 0
        self._lines: dict[int, NodeLines] = {}
        self._last_graph = -1
        self._aside = False
        self._told_thread = False
        self._suspended = -1
        self._suspended_by: Any = None
        self._thread = -1

    # Beginning and end

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._probe = Probe(self.name, recording.tell)
        self._names = ResultNames(recording.sites.origins)
        recording.trace = self
        recording.parameters.also_let_go = self._let_go
        why_not = compiled_calls.join(self)
        if why_not is not None or _has_compiled():
            self._step_aside()

    def _let_go(self, tensor: torch.Tensor) -> None:
        self._flow.let_go(tensor)

    def stop(self) -> None:
        compiled_calls.leave(self)
        self._mode.take_out()

    def step_begins(self, number: int) -> None:
        self._mode.take_out()
        self.active = False
        if self._asked is None or self._aside or not self._probe.enabled or number < self._next:
            return
        if _has_compiled():
            self._step_aside()
        elif not compiled_autograd() and tracing_state() is None:
            self._begin(self._asked)

    def _begin(self, reason: TraceReason) -> None:
        self._reason, self._asked = reason, None
        self._flow = Flow()
        self._lines, self._last_graph = {}, -1
        self._suspended_by = None
        self._stepped: set[int] = set()
        self._so_far: Trace | None = None
        self.active = True
        self._thread = threading.get_ident()
        self._mode.put_in()

    def ask(self, reason: TraceReason) -> None:
        """Trace a whole step soon. The traces of a recording are few, and ever further apart."""
        if self._asked is None and self._traces < MAX_TRACES:
            self._asked = reason

    def step_ends(self, step: OpenStep) -> None:
        self._mode.take_out()
        unreached = self._unreached(step)
        if self.active and self._probe.enabled:
            self._recording.write(replace(self._so_far or self._record(), step=step.number))
            self._traces += 1
            self._next = step.number + 1 + (1 << self._traces)
            if self._reason == "first step":
                self._next = step.number + 1
            if unreached is not None:
                self._explained.add(unreached)
        elif unreached and unreached not in self._explained:
            self.ask("unreached parameters")

    def after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:  # noqa: ARG002 # the event's
        # What follows its last optimizer belongs to the next step, though a first step is known to have ended only when
        # an optimizer steps again.
        if self.active and number not in self._stepped:
            self._stepped.add(number)
            self._so_far = self._record()

    def _record(self) -> Trace:
        last = self._lines.get(self._last_graph)
        with _no_function():
            where = self._recording.steps.number, self._reason
            return trace_record(self._recording, self._flow, where, (self._last_graph, last))

    def _unreached(self, step: OpenStep) -> frozenset[int] | None:
        """Parameters that no backward call of a step reached; None where that is as it was, or nothing ran."""
        counts = sum(len(call.parameter_rows) for call in step.calls), self._recording.parameters.count
        if not self.active and (counts == self._looked_at or not any(call.call == "backward" for call in step.calls)):
            return None
        self._looked_at = counts
        reached = {number for call in step.calls for number, _ in call.parameter_rows}
        return frozenset(
            watched.id
            for watched in self._recording.parameters
            if watched.id not in reached and (leaf := watched.ref()) is not None and leaf.requires_grad
        )

    # The compiler

    def compiling_began(self) -> None:
        self._step_aside()

    def compiling_ended(self) -> None:
        pass

    def _step_aside(self) -> None:
        self._mode.take_out()
        if not self._aside:
            self._aside, self.active = True, False
            self._recording.tell(Notice("partial", COMPILED))

    # Events

    def module_enters(self, number: int, module: nn.Module, arguments: Any) -> None:  # noqa: ARG002 # the event's
        if self._suspended_by == TRACED:
            self._resume()
        if self._mode.awake != self._mode_belongs():
            self._tidy()
        if self.active and isinstance(module, _FAST_PATHS) and not module.__dict__.get("training"):
            self._suspend(id(module))

    def module_is_traced(self) -> None:
        # torch.jit.trace names its values by the locals of the frames above an op, which would be the mode's.
        if self.active:
            self._suspend(TRACED)

    def _mode_belongs(self) -> bool:
        return self.active and self._suspended_by is None

    def _tidy(self) -> None:
        """Take the mode out where a call had kept it; and in again where what it was taken out for was left."""
        if not self.active:
            self._mode.take_out()
        elif self._suspended_by is not None and threading.get_ident() == self._thread:
            depth = len(self._recording.module_hooks.intervals.mine().stack)
            if depth <= self._suspended:
                self._resume()

    def _suspend(self, by: int) -> None:
        # Under a mode the fast paths are not taken, and the slow ones differ in the last digits.
        if self._suspended_by is None and threading.get_ident() == self._thread:
            self._suspended_by = by
            self._suspended = len(self._recording.module_hooks.intervals.mine().stack)
            self._mode.take_out()

    def module_leaves(self, number: int, module: nn.Module, output: Any) -> None:  # noqa: ARG002 # the event's
        if self._suspended_by == id(module) and threading.get_ident() == self._thread:
            depth = len(self._recording.module_hooks.intervals.mine().stack)
            if depth < self._suspended:
                self._resume()

    def _resume(self) -> None:
        self._suspended_by = None
        if self.active:
            self._mode.put_in()

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        if not self.active or not call.is_outermost:
            return
        with _no_function():
            self._flow.phase = "backward"
            for output in outputs:
                if isinstance(output, torch.Tensor):
                    self._flow.reaches_loss(output)
            if call.walk is None:
                return
            if self._recording.module_hooks.intervals.owner(call.thread) not in (None, self._thread):
                self._tell_other_thread()
                return
            self._read_walk(call.graph, call.walk)

    def _read_walk(self, graph: int, walk: Walk) -> None:
        lines = lines_of(self._flow, walk.numbers)
        for place in lines.ops:
            if place >= 0:
                self._flow.ops[place].reached = True
        self._flow.walked = True
        self._lines[graph] = lines
        self._last_graph = graph

    def backward_ends(self, call: BackwardCall) -> None:
        if self.active and call.is_outermost:
            self._flow.phase = "update"
            with _no_function():
                known = ((watched.ref(), watched) for watched in self._recording.parameters)
                found = [(leaf, leaf.grad) for leaf, _ in known if leaf is not None and leaf.is_leaf]
                self._flow.note_gradients((leaf, grad) for leaf, grad in found if grad is not None)

    def _tell_other_thread(self) -> None:
        if not self._told_thread:
            self._told_thread = True
            self._recording.tell(Notice("partial", OTHER_THREAD))

    # Ops

    def _before(self, function: Any, args: Any, kwargs: Any) -> Call | None:
        if not self.active or not self._probe.enabled or is_tracing():
            return None
        start = perf_counter_ns()
        try:
            return self._seen(function, args, kwargs)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._failed()
            return None
        finally:
            self._recording.cost.since(start)

    def _seen(self, function: Any, args: Any, kwargs: Any) -> Call | None:
        kind = self._kinds.get(function)
        if kind is None:
            kind = self._kinds[function] = kind_of(function)
        flow = self._flow
        if kind.rule == "skip" or flow.truncated:
            return None
        if tracing_state() is not None or _interpreters() is not None or graph_task() != -1:
            return None
        flow.count += 1
        frame, in_optimizer = self._user_frame(current_frame(3))
        if in_optimizer:
            return None
        with _no_function():
            inputs = list(tensors_in(args))
            if kwargs:
                inputs += tensors_in(kwargs)
            versions = [version_of(each) for each in inputs]
        keys = self._recording.call_sites.at(frame)
        inside = self._is_inside_function()
        stack = self._recording.module_hooks.intervals.mine().stack
        module = stack[-1][0] if stack else -1
        name = self._names.name_for(frame)
        return Call(kind, keys, module, name, inputs, versions, sequence_number(), inside)

    def _user_frame(self, frame: FrameType | None) -> tuple[FrameType | None, bool]:
        """The innermost frame of user code, and whether an optimizer's step runs between it and the op."""
        origins = self._recording.sites.origins
        stepping = False
        while frame is not None and origins[frame.f_code.co_filename] < LIBRARY:
            code = frame.f_code
            if "optim" in code.co_filename and code.co_name != "zero_grad":
                stepping |= code.co_filename.startswith(_OPTIM)
            elif code.co_name == "zero_grad" and code.co_filename.startswith(_OPTIM):
                stepping = False
            frame = frame.f_back
        return frame, stepping

    def _is_inside_function(self) -> bool:
        """Whether a custom Function's forward runs: there no op has a graph, and its result has one."""
        if torch.is_grad_enabled():
            return False
        inner = current_frame(4)
        while inner is not None:
            if inner.f_code is _APPLY:
                self._flow.function_keys = self._recording.call_sites.at(inner.f_back)
                return True
            inner = inner.f_back
        return False

    def _after(self, call: Call, result: Any) -> None:
        start = perf_counter_ns()
        try:
            with _no_function():
                self._flow.ended(call, result)
        except Exception:  # noqa: BLE001 # as above
            self._failed()
        self._recording.cost.since(start)

    def _failed(self) -> None:
        self._mode.awake = self.active = False
        self._probe.failed()

    # What others ask

    def line_now(self) -> Keys:
        """Raw keys of the line that is running: innermost user code, innermost project code."""
        return self._recording.call_sites.at(current_frame(1))

    def made(self, number: int, thread: int) -> Keys | None:
        """The line (raw keys) of the op that made the node of a sequence number, while its step is traced."""
        op = self._flow.op_of(number) if self._is_of(thread) else None
        return None if op is None or op.keys[0] < 0 else op.keys

    def op_made(self, number: int, thread: int) -> str | None:
        """The name of the op that made a node, as the program called it."""
        op = self._flow.op_of(number) if self._is_of(thread) else None
        return None if op is None else op.name

    def writes(self, storage_address: int) -> list[Wrote]:
        """In-place ops of the traced step on a storage, oldest first."""
        return self._flow.writes_to(storage_address) if self.active else []

    def name_of(self, tensor: torch.Tensor) -> str:
        """The Python name of a tensor: what a frame of user code calls it now, or what it was called when made."""
        with _no_function():
            found = self._recording.namer.name_of(tensor, current_frame(1))
            op = self._flow.op_behind(tensor) if found is None and self.active else None
        return found or ("" if op is None else op.label)

    def _is_of(self, thread: int) -> bool:
        return self.active and self._recording.module_hooks.intervals.owner(thread) in (None, self._thread)


_OPTIM = str(_torch.optim.__path__[0])


def _has_compiled() -> bool:
    """Whether the program has asked for compiled code: torch's own switches to turn the compiler off do not count."""
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    return any(backend is not None for backend in getattr(frames, "cached_backends", {}).values())

"""Global module hooks: where each module's nodes begin and end, and the gradient of what it returns."""

from __future__ import annotations

import sys
import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from gradwatch.capture.attribution import Intervals, ThreadIntervals
from gradwatch.capture.compiled_guards import GUARDED, are_guarded
from gradwatch.capture.compiled_hooks import UntracedHooks
from gradwatch.capture.modules import compiled_module, is_compilers, tensors_in
from gradwatch.capture.names import readable_locals
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.parameters import StorageClasses
from gradwatch.capture.told import say_nothing
from gradwatch.capture.torch_internals import (
    MODULE_CALL_CODE,
    function_modes,
    is_compiling,
    is_functorch,
    tracing_state,
    without_function,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from torch.autograd.graph import Node

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.observers import Observers
    from gradwatch.capture.probes import Cost, Probe
    from gradwatch.records import NoticeKind


def _class_inputs(storages: StorageClasses, arguments: Any) -> None:
    """The batch: tensors without a grad_fn that are given to an outermost module call."""
    with without_function():
        for tensor in tensors_within(arguments):
            if tensor.grad_fn is None:
                storages.add_input(tensor)


Noted: TypeAlias = "tuple[int, int, type]"
"""A module output: which output of its node, its id, and the node's type."""

MOST_NOTED = 16_384
"""Nodes after which those noted before as many are forgotten: a graph that old and not yet run is left out."""

INSIDE_TRANSFORM = (
    "Modules were called inside a functorch transform (torch.func): the gradients of their outputs there are not "
    "observable."
)


class OutputGradients:
    """Which nodes made what modules returned, by sequence number, so that their gradients are read in backward.

    NOTE [Outputs of several threads]
    Numbers are counted per thread. While one thread alone runs modules, a number names a node, and nothing is done
    to the node until a backward call reaches it. From the first module call of another thread on, nodes are hooked
    as they are made: a number would not say whose it is.
    """

    def __init__(self, probe: Probe, cost: Cost, current: Callable[[], BackwardCall | None]) -> None:
        self._probe = probe
        self._cost = cost
        self._current = current
        self._handles: list[Any] = []
        self._calls: dict[int, int] = {}
        self._last: tuple[Any, int, list[int]] | None = None
        self._thread = -1
        self._several = False
        self._noted: dict[int, list[Noted]] = {}
        self._noted_before: dict[int, list[Noted]] = {}
        self.tell_once: Callable[[NoticeKind, str], None] = say_nothing

    def watch(self, table: ModuleTable, module: int, output: Any) -> None:
        """Hook every tensor of a module's output that has a grad_fn."""
        if type(output) is torch.Tensor:
            self._watch(table, module, (("", output),))
        else:
            with without_function():  # subclasses of the program's would see what is asked of them
                self._watch(table, module, tensors_in(output))

    def _watch(self, table: ModuleTable, module: int, output: Iterable[tuple[str, torch.Tensor]]) -> None:
        call = -1
        notes = self._notes()
        for path, tensor in output:
            if is_functorch(tensor):
                self.tell_once("not observable", INSIDE_TRANSFORM)
                continue
            node = tensor.grad_fn
            if node is None:
                continue
            if call < 0:
                call = self._calls[module] = self._calls.get(module, -1) + 1
            subject = table.output(module, path, call)
            if notes:
                self._note(node, tensor.output_nr, subject)
            else:
                self._hook(node, tensor.output_nr, subject)

    def _notes(self) -> bool:
        """Whether a number names a node: see NOTE [Outputs of several threads]."""
        if self._several:
            return False
        thread = threading.get_ident()
        if self._thread < 0:
            self._thread = thread
        self._several = thread != self._thread
        return not self._several

    def _note(self, node: Any, output_nr: int, subject: int) -> None:
        number = node._sequence_nr()
        noted = self._noted.get(number)
        if noted is not None:
            noted.append((output_nr, subject, node.__class__))
            return
        if len(self._noted) >= MOST_NOTED:
            self._noted_before, self._noted = self._noted, {}
        self._noted[number] = [(output_nr, subject, node.__class__)]

    def forget_older(self) -> None:
        """A step ended: outputs of the one before it are forgotten, as the modules of its nodes are."""
        self._noted_before, self._noted = self._noted, {}

    def awaited(self, thread: int | None, nodes: list[Node], numbers: list[int]) -> dict[int, dict[int, list[int]]]:
        """Module outputs that `nodes` made, whose `numbers` are of `thread`: ids by position and output."""
        found: dict[int, dict[int, list[int]]] = {}
        latest, before = self._noted, self._noted_before
        if thread != self._thread or not (latest or before):
            return found
        for position, number in enumerate(numbers):
            noted = latest.get(number) or before.get(number)
            if noted is not None and noted[0][2] is type(nodes[position]):
                outputs = found[position] = {}
                for output_nr, subject, _ in noted:
                    outputs.setdefault(output_nr, []).append(subject)
        return found

    def _hook(self, node: Any, output_nr: int, subject: int) -> None:
        last = self._last
        if last is not None and last[0] is node and last[1] == output_nr:
            last[2].append(subject)
            return
        subjects = [subject]
        self._last = (node, output_nr, subjects)
        probe, cost, current = self._probe, self._cost, self._current

        def prehook(gradients: tuple[torch.Tensor | None, ...]) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                call = current()
                gradient = gradients[output_nr]
                if call is not None and gradient is not None:
                    row = call.rows.add(gradient)
                    for each in subjects:
                        call.module_rows.append((each, row))
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        self._handles.append(node.register_prehook(prehook))

    def forget_last(self) -> None:
        """Let go of the last output's node, which would keep its graph alive."""
        self._last = None

    def calls_done(self) -> None:
        """A backward call ended, or a forward was abandoned: the next counts module calls from 0 again."""
        self._calls.clear()

    def prune(self) -> None:
        """Forget handles whose graph is gone."""
        self._handles = [handle for handle in self._handles if handle.hooks_dict_ref() is not None]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._noted, self._noted_before = {}, {}


class ModuleHooks:
    """Notes entry and exit of every module call of the process."""

    def __init__(self, table: ModuleTable, probe: Probe, cost: Cost, call_site: Callable[[], tuple[int, int]]) -> None:
        self.intervals = ThreadIntervals()
        self.storages = StorageClasses()
        self.outputs: OutputGradients | None = None
        self.observers: Observers | None = None
        self._table = table
        self._probe = probe
        self._cost = cost
        self._call_site = call_site
        self._nested: set[tuple[int, int]] = set()
        self._handles: list[Any] = []
        self._untraced = UntracedHooks()

    def start(self) -> str | None:
        """Put the hooks in. Returns what is not known, where they must stay away or the compiler will see them."""
        if are_guarded():
            return GUARDED
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave),
        ]
        return self._untraced.start(self._handles)

    def stop(self) -> None:
        self._untraced.stop()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self.outputs is not None:
            self.outputs.remove()

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        if is_compiling() or not self._probe.enabled:
            return
        if tracing_state() is not None:
            if self.observers is not None:
                self.observers.tell("module_is_traced")
            return
        start = perf_counter_ns()
        try:
            if function_modes():
                with torch._C.DisableTorchFunction():
                    self._entered(module, arguments)
            else:
                self._entered(module, arguments)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()
        self._cost.since(start)

    def _leave(self, module: nn.Module, _arguments: Any, output: Any) -> None:
        if is_compiling() or not self._probe.enabled or tracing_state() is not None:
            return
        start = perf_counter_ns()
        try:
            if function_modes():
                with torch._C.DisableTorchFunction():
                    self._left(module, output)
            else:
                self._left(module, output)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()
        self._cost.since(start)

    def _entered(self, module: nn.Module, arguments: Any) -> None:
        intervals = self.intervals.mine()
        stack = intervals.stack
        parent = stack[-1][0] if stack else -1
        number = self._table.id_of(module)
        if parent >= 0 and (parent, number) not in self._nested:
            self._drop_abandoned(intervals)
            parent = stack[-1][0] if stack else -1
        if number is None:
            if compiled_module(module) is not None or is_compilers(module, sys._getframe(2)):
                self._entered_wrapper(module, parent)
                return
            number = self._table.discover(module, parent)
        if parent >= 0:
            self._nested.add((parent, number))
        else:
            _class_inputs(self.storages, (arguments, _keyword_arguments()))
        intervals.enter((number, *self._call_site()))
        if self.observers is not None:
            self.observers.tell("module_enters", number, module, arguments)

    def _entered_wrapper(self, module: nn.Module, parent: int) -> None:
        """What torch.compile put around a module, or made of one, is no module of the program's."""
        if parent < 0 and compiled_module(module) is not None:
            self._table.discover(module, parent)
        self.intervals.mine().enter((parent, *self._call_site()))

    def _left(self, module: nn.Module, output: Any) -> None:
        intervals = self.intervals.mine()
        number = self._table.id_of(module)
        stack = intervals.stack
        if number is None or not stack:
            if stack and (compiled_module(module) is not None or is_compilers(module, sys._getframe(2))):
                intervals.leave()
            return  # entered before the recording began
        if stack[-1][0] != number:
            if all(place[0] != number for place in stack):
                return  # likewise
            while stack[-1][0] != number:
                stack.pop()
        intervals.leave()
        if self.observers is not None:
            self.observers.tell("module_leaves", number, module, output)
        if self.outputs is not None:
            if torch.is_grad_enabled():
                self.outputs.watch(self._table, number, output)
            if not stack:
                self.outputs.forget_last()

    def innermost(self) -> int:
        """The id of the module whose call is running on this thread; -1 where none is."""
        stack = self.intervals.mine().stack
        return stack[-1][0] if stack and running_calls(sys._getframe()) else -1

    def outside_modules(self) -> None:
        """No module call is running on this thread: what a forward that raised left behind is dropped."""
        intervals = self.intervals.mine()
        if intervals.stack:
            self._drop_abandoned(intervals, running=running_calls(sys._getframe()))

    def _drop_abandoned(self, intervals: Intervals, running: int | None = None) -> None:
        # A forward that raises calls no hook on its way out, and an always_call hook would change what a
        # failing forward runs. Frames tell how many module calls are really running.
        keep = max(0, running_calls(sys._getframe()) - 1) if running is None else running
        if keep < len(intervals.stack):
            del intervals.stack[keep:]
            intervals.correct_top()
            if self.outputs is not None:
                self.outputs.calls_done()


def running_calls(frame: FrameType | None) -> int:
    """How many module calls are running from `frame` outwards: the stack is the only witness."""
    count = 0
    while frame is not None:
        count += frame.f_code is MODULE_CALL_CODE
        frame = frame.f_back
    return count


def _keyword_arguments() -> Any:
    """Keyword arguments of the module call whose pre-hook is running: global hooks are not given them."""
    frame = sys._getframe(3)  # from here: _entered, _enter, then torch's caller of hooks
    for _ in range(2):
        if frame.f_code is MODULE_CALL_CODE or (frame.f_back is not None and frame.f_back.f_code is MODULE_CALL_CODE):
            with readable_locals(frame) as names:
                return names.get("kwargs")
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None

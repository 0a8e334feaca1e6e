"""Statistics of what modules return in the forward, and of what the outermost are given: one row per output and call.

Rows are added as the output is there, on whatever device it lies; nothing waits. Records go out when the rows have
arrived: of a step in which one is not finite, and of steps with details.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.device_values import is_capturing
from gradwatch.capture.graph import column
from gradwatch.capture.looks import FINITE, NAN, can_be_bad, level_now
from gradwatch.capture.modules import tensors_in
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.observers import Observer
from gradwatch.capture.torch_internals import without_function
from gradwatch.records import Activations, Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.statistics import StatisticRows
    from gradwatch.capture.steps import OpenStep

MOST_ROWS = 20_000
"""Module outputs of one step that are read: a loop over millions of cells is not."""


@dataclass(slots=True)
class FirstBad:
    """The first module output of a step that was not finite, as far as it was seen at once (on the CPU).

    `level` is that of `looks`; `site` and `project_site` are raw keys of the line that called the module.
    """

    module: int
    level: int
    site: int
    project_site: int


@dataclass(slots=True, eq=False)
class ForwardOutputs:
    """What modules returned in one forward: up to the end of the backward call that it led to, if it did.

    `levels` say how bad a value is (see looks), by the number of the node that made it and which output.
    """

    rows: StatisticRows
    subjects: list[int] = field(default_factory=list[int])
    numbers: list[int] = field(default_factory=list[int])
    modules: list[int] = field(default_factory=list[int])
    levels: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    first_bad: FirstBad | None = None
    first_nan: FirstBad | None = None
    input_level: int = FINITE
    calls: list[BackwardCall] = field(default_factory=list["BackwardCall"])
    searched: bool = False


@dataclass(slots=True)
class EndedOutputs:
    """The forwards of a step that ended."""

    step: int
    forwards: list[ForwardOutputs]

    def is_ready(self) -> bool:
        return all(each.rows.is_ready() for each in self.forwards)


class ModuleActivations(Observer):
    """Reads module outputs. `seen_bad` is told of the first NaN (and the first Inf) of a step while its graph lives."""

    name = "module output"

    def __init__(self) -> None:
        self.seen_bad: Callable[[FirstBad, Tensor], None] = _ignore
        self.landed: Callable[[int, ForwardOutputs, dict[str, Any]], None] = _ignore
        self._calls: dict[int, int] = {}
        self._ended: list[ForwardOutputs] = []
        self._waiting: deque[EndedOutputs] = deque()
        self._lock = threading.RLock()  # held by what reads into `current` and by what ends it; also within itself
        self._last: tuple[weakref.ref[Any], int, int, int, ForwardOutputs] | None = None

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self.current = self._new()

    def stop(self) -> None:
        """What has led to no backward call is told now: nothing else will come of it."""
        if not hasattr(self, "current"):
            return
        with self._lock:
            self._turn()
            loose = [each for each in self._ended if not each.calls]
            self._ended = [each for each in self._ended if each.calls]
            self._waiting.append(EndedOutputs(self._recording.steps.number, loose))
            while self._waiting:
                self._write(self._waiting.popleft())

    def step_ends(self, step: OpenStep) -> None:
        with self._lock:
            self._end_step(step)

    def _end_step(self, step: OpenStep) -> None:
        mine = [i for i, each in enumerate(self._ended) if any(call in step.calls for call in each.calls)]
        if mine:
            ended = EndedOutputs(step.number, self._ended[: mine[-1] + 1])
            del self._ended[: mine[-1] + 1]
            self._waiting.append(ended)
        if not is_capturing():
            while self._waiting and self._waiting[0].is_ready():
                self._write(self._waiting.popleft())

    def backward_begins(self, call: BackwardCall, outputs: Any) -> None:  # noqa: ARG002 # Observer's
        if call.is_outermost:
            with self._lock:
                self.current.calls.append(call)

    def backward_ends(self, call: BackwardCall) -> None:
        if call.is_outermost and not call.retain_graph:
            with self._lock:
                self._turn()

    def module_enters(self, number: int, module: nn.Module, arguments: Any) -> None:  # noqa: ARG002 # Observer's
        if len(self._recording.module_hooks.intervals.mine().stack) == 1 and torch.is_grad_enabled():
            with without_function():
                found = [level_now(each) or FINITE for each in tensors_within(arguments)]
            current = self.current
            current.input_level = max([current.input_level, *found])

    def module_leaves(self, number: int, module: nn.Module, output: Any) -> None:  # noqa: ARG002 # Observer's
        if torch.is_grad_enabled():
            with self._lock:
                self._returned(number, output)

    def _returned(self, number: int, output: Any) -> None:
        current = self.current
        if len(current.subjects) >= MOST_ROWS:
            return
        call = self._calls[number] = self._calls.get(number, -1) + 1
        if type(output) is torch.Tensor:
            self._read(current, (number, "", call), output)
            return
        with without_function():
            for path, tensor in tensors_in(output):
                self._read(current, (number, path, call), tensor)

    def _read(self, current: ForwardOutputs, where: tuple[int, str, int], tensor: Tensor) -> None:
        if not can_be_bad(tensor):
            return
        last = self._row_of_last(tensor)
        row = current.rows.add(tensor) if last is None else last
        if row < 0:
            return
        module, path, call = where
        current.subjects.append(self._recording.modules.output(module, path, call))
        current.numbers.append(row)
        current.modules.append(module)
        if last is None:
            self._remember(tensor, row)
            if tensor.is_cpu and type(tensor) is torch.Tensor:
                self._note_level(current, module, tensor, current.rows.level(row))

    def _note_level(self, current: ForwardOutputs, module: int, tensor: Tensor, level: int) -> None:
        node = tensor.grad_fn
        if node is not None:
            current.levels[node._sequence_nr(), tensor.output_nr] = level
        if level == FINITE or (current.first_bad is not None and (level < NAN or current.first_nan is not None)):
            return
        bad = FirstBad(module, level, *self._recording.call_sites.here(2))
        current.first_bad = current.first_bad or bad
        if level == NAN:
            current.first_nan = bad
            self.seen_bad(bad, tensor)

    def _row_of_last(self, tensor: Tensor) -> int | None:
        """A container mostly returns what its last module returned: that is read once."""
        last = self._last
        if last is None or last[0]() is not tensor or last[4] is not self.current:
            return None
        return last[2] if last[1] == _version(tensor) and last[3] == threading.get_ident() else None

    def _remember(self, tensor: Tensor, row: int) -> None:
        self._last = (weakref.ref(tensor), _version(tensor), row, threading.get_ident(), self.current)

    def _new(self) -> ForwardOutputs:
        return ForwardOutputs(self._recording.rows.new(histogram=False))

    def _turn(self) -> None:
        """The next forward begins."""
        self._calls.clear()
        self.current.levels.clear()
        self._ended.append(self.current)
        self._last = None
        self.current = self._new()
        if not is_capturing():
            self._ended[-1].rows.flush()

    def _write(self, ended: EndedOutputs) -> None:
        subjects: list[int] = []
        parts: list[dict[str, Any]] = []
        for each in ended.forwards:
            if each.numbers:
                columns = each.rows.columns(np.array(each.numbers))
                subjects += each.subjects
                parts.append(columns)
                if bool((columns["nan"] + columns["inf"]).any()):
                    self.landed(ended.step, each, columns)
        if parts:
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            detailed = any(call.detailed for each in ended.forwards for call in each.calls)
            if detailed or bool((joined["nan"] + joined["inf"]).any()):
                self._recording.write(Activations(ended.step, column(subjects, "<u4"), dict(_as_columns(joined))))
        for each in ended.forwards:
            self._recording.rows.let_go(each.rows)


def _as_columns(columns: dict[str, Any]) -> Iterator[tuple[str, Column]]:
    for name, values in columns.items():
        yield name, Column(values.dtype.str, values.tobytes())


def _version(tensor: Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # inference tensors keep none
        return -1


def _ignore(*_: object) -> None:
    """Nobody waits for it."""

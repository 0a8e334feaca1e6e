"""Light attribution from the first stop on: which module and line each later node belongs to, with nothing set up.

Module calls are noted by global forward hooks, lines by the line clock (Python 3.12 and later; before, the call
line of each module), optimizer steps are counted. Nothing is written or read beyond that. It ends when the
debugger goes, on request, or when a recorder takes over; then no hook, tool id or stand-in of ours is left.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from gradwatch.capture.attached_debugger import is_attached
from gradwatch.capture.compiled_graphs import CompiledGraphs
from gradwatch.capture.deep_graphs import sweep
from gradwatch.capture.engine_threads import unwatch_engine_threads, watch_engine_threads
from gradwatch.capture.graph_capture import Lines
from gradwatch.capture.light_hooks import LightHooks
from gradwatch.capture.line_clock import LineClock
from gradwatch.capture.modules import ModuleTable
from gradwatch.capture.monitoring import is_supported
from gradwatch.capture.names import Namer
from gradwatch.capture.probes import Probe
from gradwatch.capture.sites import SiteTable
from gradwatch.capture.torch_internals import sequence_number
from gradwatch.errors import RecordingError
from gradwatch.records import Notice

if TYPE_CHECKING:
    from types import FrameType

    import torch

COMPILES = (
    "This program uses torch.compile. Watching module calls would make it compile again, so modules are those whose "
    "parameters an operation uses; gradwatch.watch, started before the first compilation, sees them all."
)
KEPT_STEPS = 8
"""Optimizer steps for which attribution is kept: several optimizers may share an iteration."""
KEPT_NOTES = 1 << 17
"""Notes of module calls that a thread keeps, where no optimizer step says what is old."""


class Attachment:
    """What is attached to this process."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.sites = SiteTable()
        self.modules = ModuleTable(Namer(self.sites.origins), lambda _name, _root: None)
        self.steps: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        probe = Probe("module", self.notices.append)
        self.compiled = CompiledGraphs(self.modules, self.sites, Probe("compiled region", self.notices.append))
        self.hooks = LightHooks(self.modules, self.sites, probe, self._check)
        self.clock: LineClock | None = None
        self.lines = Lines(self.hooks.intervals, None)
        self._handles: list[Any] = []
        self._marks: list[dict[int, int]] = []
        self._has_client = False

    def start(self, frame: FrameType | None) -> None:
        """Begin. Of the module calls that `frame` stands inside of no end will be seen."""
        self._has_client = is_attached()
        if is_supported():
            self._start_clock()
        if _has_compiled():
            self.notices.append(Notice("partial", COMPILES))
        else:
            self.hooks.start(frame)
        self.compiled.start()
        self._handles = [register_optimizer_step_post_hook(self._stepped)]
        if self._has_client:
            watch_engine_threads()

    def stop(self) -> None:
        self.hooks.stop()
        self.compiled.stop()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self.clock is not None:
            self.clock.stop()
        unwatch_engine_threads()

    def _start_clock(self) -> None:
        clock = LineClock(sequence_number, self.sites)
        with suppress(RecordingError):  # its tool ids are taken: the call lines of modules must do
            clock.start()
            self.clock = clock
            self.hooks.notes_lines = False
            self.lines = Lines(self.hooks.intervals, clock)

    def _check(self) -> None:
        if self._has_client and not is_attached():
            detach()
            return
        sweep()
        notes = self.hooks.intervals.mine().numbers
        if len(notes) > KEPT_NOTES:
            self.lines.forget_before({threading.get_ident(): notes[len(notes) // 2]})

    def _stepped(self, optimizer: torch.optim.Optimizer, _arguments: Any, _options: Any) -> None:
        """An optimizer stepped: graphs that are many steps old are taken to be gone."""
        with suppress(Exception):  # ours, never the program's
            sweep()
            self.steps[optimizer] = self.steps.get(optimizer, 0) + 1
            self._marks.append(self.hooks.intervals.marks())
            if len(self._marks) > KEPT_STEPS:
                self.lines.forget_before(self._marks.pop(0))


_attached: list[Attachment] = []


def attachment() -> Attachment | None:
    """What is attached now, if anything is."""
    return _attached[0] if _attached else None


def attach(frame: FrameType | None = None) -> Attachment:
    """Begin light attribution, unless it runs already; `frame` is where the calling thread stands."""
    if not _attached:
        new = Attachment()
        _attached.append(new)
        try:
            new.start(frame)
        except BaseException:
            detach()
            raise
    return _attached[0]


def detach() -> None:
    """End it: no hook, tool id or stand-in is left. Does nothing where nothing is attached."""
    while _attached:
        _attached.pop().stop()


def _has_compiled() -> bool:
    """Whether the program compiles: new global hooks would make it compile all over again."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    counters: Any = getattr(dynamo, "counters", None)
    return bool(counters) and bool(counters.get("frames"))

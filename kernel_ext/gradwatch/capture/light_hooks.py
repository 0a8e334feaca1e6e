"""Notes where each module call's nodes begin and end, for a program that is being debugged and recorded by nobody.

What module_hooks.py does for a recorder, without the gradients: one Python frame at entry and one at exit, since
under a debugger that traces (Python before 3.12) each frame of ours costs several times its own work.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from gradwatch.capture.attribution import NOWHERE, Intervals, ThreadIntervals
from gradwatch.capture.lines import CallSites, current_frame
from gradwatch.capture.module_hooks import running_calls
from gradwatch.capture.origins import MACHINERY, PROJECT
from gradwatch.capture.pack_hooks import NO_SITES
from gradwatch.capture.sites import CALL
from gradwatch.capture.torch_internals import sequence_number, tracing_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from torch import nn

    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.probes import Probe
    from gradwatch.capture.sites import SiteTable

is_dynamo_compiling: Callable[[], bool] = torch.compiler.is_dynamo_compiling
CALLS_BETWEEN_CHECKS = 1 << 8
UNREACHED = (1 << 63) - 1


class LightHooks:
    """Global module hooks. `check` is called from time to time, on whatever thread runs a module then."""

    def __init__(self, table: ModuleTable, sites: SiteTable, probe: Probe, check: Callable[[], None]) -> None:
        self.intervals = ThreadIntervals()
        self.notes_lines = True
        """Whether the line of each module's call is noted: where no line clock runs."""
        self._table = table
        self._known = table._known
        self._probe = probe
        self._check = check
        self._sites = sites
        self._call_sites = CallSites(sites)
        self._origins = sites.origins
        self._project_keys = sites.project_keys
        self._local = threading.local()
        self._nested: set[tuple[int, int]] = set()
        self._handles: list[Any] = []
        self._calls = 0
        self._thread = threading.get_ident()
        self._enclosed = False
        self._complete_from = 0

    @property
    def complete_from(self) -> int:
        """The sequence number from which on every module call of the first thread was seen from its beginning."""
        return UNREACHED if self._enclosed else self._complete_from

    @property
    def is_on(self) -> bool:
        """Whether module calls are noted now."""
        return bool(self._handles) and self._probe.enabled

    def start(self, frame: FrameType | None) -> None:
        """Begin. Of the module calls that `frame` stands inside of no end will be seen."""
        self._thread = threading.get_ident()
        self._enclosed = running_calls(frame) > 0
        self._complete_from = sequence_number()
        self._handles = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _enter(self, module: nn.Module, _arguments: Any) -> None:
        """Written out in one frame, but for what is rare."""
        if is_dynamo_compiling() or not self._probe.enabled or tracing_state() is not None:
            return
        try:
            try:
                intervals: Intervals = self._local.intervals
            except AttributeError:
                intervals = self._local.intervals = self.intervals.mine()
            stack = intervals.stack
            parent = stack[-1][0] if stack else -1
            known = self._known.get(id(module))
            number = known[1] if known is not None and known[0]() is module else None
            self._calls += 1
            is_usual = (parent, number) in self._nested and self._calls % CALLS_BETWEEN_CHECKS
            if number is None or not is_usual:
                number = self._unusual(module, intervals)
            sites: tuple[int, int] = NO_SITES
            if self.notes_lines:
                frame, origin = current_frame(1), MACHINERY
                while frame is not None and (origin := self._origins[frame.f_code.co_filename]) == MACHINERY:
                    frame = frame.f_back
                key = None if frame is None or origin != PROJECT else self._project_keys.get(id(frame.f_code))
                if key is None or frame is None:
                    sites = self._call_sites.at(frame)
                else:
                    key += CALL + frame.f_lasti
                    sites = (key, key)
            place = (number, sites[0], sites[1])
            stack.append(place)
            at = sequence_number()
            if intervals.numbers and intervals.numbers[-1] == at:
                intervals.places[-1] = place
            else:
                intervals.numbers.append(at)
                intervals.places.append(place)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()

    def _unusual(self, module: nn.Module, intervals: Intervals) -> int:
        """A module that was not called from this one before, or time to check; its number."""
        if self._calls % CALLS_BETWEEN_CHECKS == 0:
            self._check()
        stack = intervals.stack
        number = self._table.id_of(module)
        if stack and (stack[-1][0], number) not in self._nested:
            keep = running_calls(current_frame(1)) - 1
            if keep < len(stack):  # a forward raised: no hook was called on its way out
                del stack[max(0, keep) :]
                intervals.correct_top()
        parent = stack[-1][0] if stack else -1
        if parent < 0 and self._enclosed and threading.get_ident() == self._thread:
            self._leave_enclosing()
        if number is None:
            number = self._table.discover(module, parent)
        if not (parent < 0 and self._enclosed):  # else the next outermost call is looked at too
            self._nested.add((parent, number))
        return number

    def _leave_enclosing(self) -> None:
        """An outermost call: from here on all are seen whole, unless one that ran at the start is around it."""
        if running_calls(current_frame(1)) <= 1:
            self._enclosed, self._complete_from = False, sequence_number()

    def _leave(self, module: nn.Module, _arguments: Any, _output: Any) -> None:
        if is_dynamo_compiling() or not self._probe.enabled or tracing_state() is not None:
            return
        try:
            intervals: Intervals | None = getattr(self._local, "intervals", None)
            if intervals is None or not intervals.stack:
                return  # entered before the start
            known = self._known.get(id(module))
            number = known[1] if known is not None and known[0]() is module else None
            stack = intervals.stack
            if stack[-1][0] != number:
                if all(place[0] != number for place in stack):
                    return  # likewise
                while stack[-1][0] != number:
                    stack.pop()
            stack.pop()
            place = stack[-1] if stack else NOWHERE
            at = sequence_number()
            if intervals.numbers and intervals.numbers[-1] == at:
                intervals.places[-1] = place
            else:
                intervals.numbers.append(at)
                intervals.places.append(place)
        except Exception:  # noqa: BLE001 # as above
            self._probe.failed()

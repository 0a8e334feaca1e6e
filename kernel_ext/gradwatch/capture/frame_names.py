"""The names that running code has for objects, by identity: where a chain of referrers ends."""

from __future__ import annotations

import gc
import re
import sys
from dataclasses import dataclass
from inspect import CO_OPTIMIZED
from typing import TYPE_CHECKING, Any

from gradwatch.capture.lines import current_frame, frames_of_threads
from gradwatch.capture.names import readable_locals
from gradwatch.capture.origins import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from gradwatch.capture.origins import Origins

OUT = re.compile(r"_oh|_{1,3}|_\d+|Out")
"""What IPython calls the results of cells."""

MAX_FRAMES = 200


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a running frame: `kind` as a Holder has it, and where the frame stands."""

    name: str
    kind: str
    file: str
    line: int
    function: str


class FrameNames:
    """The variables of all running frames of the program, by the identity of what they hold."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._names: dict[int, Named] = {}
        self.running: set[int] = set()
        self._read_stack(current_frame(1))
        for stack in frames_of_threads().values():
            self._read_stack(stack)
        stack = None  # a frame that holds itself would hold all that its callers hold, until a collection

    def of(self, value: object) -> Named | None:
        """The name of an object: the innermost frame's, but rather any than `self`."""
        return self._names.get(id(value))

    def _read_stack(self, frame: FrameType | None) -> None:
        depth = 0
        while frame is not None and depth < MAX_FRAMES:
            if id(frame) not in self.running:
                self.running.add(id(frame))
                if self._origins[frame.f_code.co_filename] >= LIBRARY:
                    self._read(frame)
            frame, depth = frame.f_back, depth + 1

    def _read(self, frame: FrameType) -> None:
        is_function = bool(frame.f_code.co_flags & CO_OPTIMIZED)
        place = (self._origins.absolute(frame.f_code.co_filename), frame.f_lineno, frame.f_code.co_name)
        with readable_locals(frame) as names:
            self._add(names, "local" if is_function else "global", place)

    def _add(self, names: Mapping[str, Any], kind: str, place: tuple[str, int, str]) -> None:
        for name, value in list(names.items()):
            known = self._names.get(id(value))
            if (known is None or known.name == "self") and not OUT.fullmatch(name):
                self._names[id(value)] = Named(name, kind, *place)


def last_traceback_frames() -> set[int]:
    """The frames, by identity, that `sys.last_traceback` and its like keep."""
    error: Any = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    trace: Any = getattr(sys, "last_traceback", None) or getattr(error, "__traceback__", None)
    found: set[int] = set()
    while trace is not None:
        found.add(id(trace.tb_frame))
        trace = trace.tb_next
    return found


def module_of(names: dict[Any, Any]) -> str | None:
    """The name of the module that a dict holds the globals of; None where it holds something else."""
    name = names.get("__name__")
    module = sys.modules.get(name) if type(name) is str else None
    return name if module is not None and vars(module) is names else None


def referrers(objects: list[Any]) -> list[Any]:
    """What refers to objects, as the collector knows it, less the list they are given in."""
    return [found for found in gc.get_referrers(*objects) if found is not objects]

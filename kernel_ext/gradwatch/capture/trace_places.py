"""Calls a function for another frame: what asks Python where it is called from is told that frame's place.

torch's own warnings name the innermost frame that Python runs, and Python shows each once per place, by the name and
the table of that frame's module. While a mode calls an op for the program that frame would be the mode's.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType

MAX_PLACES = 5000
DEBUGGER = 0
"""sys.monitoring's number for debuggers."""


def _call(function: Any, arguments: Any, options: Any) -> Any:
    return function(*arguments, **options)


_body: CodeType = _call.__code__
_places: dict[tuple[CodeType, int], CodeType] = {}
_RUN_BACKWARD = frozenset({"backward", "grad"})
_monitoring: Any = getattr(sys, "monitoring", None)


def called_from(frame: FrameType | None, function: Any) -> Callable[[Any, Any, Any], Any]:
    """What calls a function, given with its arguments, in a frame that says it lies where `frame` runs now.

    Of our own place under a debugger, whose breakpoints would be met twice, and for the functions that run hooks of
    the program, where a stop would show that frame.
    """
    if frame is None or _is_debugged() or getattr(function, "__name__", None) in _RUN_BACKWARD:
        return _call
    key = frame.f_code, frame.f_lasti
    code = _places.get(key)
    if code is None:
        if len(_places) >= MAX_PLACES:
            _places.clear()
        code = _places[key] = _placed(frame)
    return FunctionType(code, frame.f_globals)


def without_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback of a call by `called_from` less the frames above the function: its caller's and the one it made."""
    for _ in range(2):
        trace = None if trace is None else trace.tb_next
    return trace


def _is_debugged() -> bool:
    return sys.gettrace() is not None or (_monitoring is not None and _monitoring.get_tool(DEBUGGER) is not None)


def _placed(frame: FrameType) -> CodeType:
    code = frame.f_code
    above = frame.f_lineno - 1  # the call lies one line below the `def`
    return _body.replace(co_firstlineno=above, co_filename=code.co_filename, co_name=code.co_name)

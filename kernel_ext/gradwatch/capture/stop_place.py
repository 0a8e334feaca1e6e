"""Where a program stands: thread, file, line and function of a stop."""

from __future__ import annotations

import threading
from time import time_ns
from typing import TYPE_CHECKING, Any

from gradwatch.records import Stop

if TYPE_CHECKING:
    from types import FrameType

    from gradwatch.capture.fired import RunningCall


def place_of(frame: FrameType, number: int, step: int, call: RunningCall | None) -> Stop:
    """The record of stop `number` in `frame`; how far backward has come is for others to add."""
    thread = threading.get_ident()
    return Stop(
        number=number,
        time_ns=time_ns(),
        step=step,
        thread=thread,
        thread_name=_thread_name(thread),
        file=frame.f_code.co_filename,
        line=frame.f_lineno or 0,
        function=function_name(frame),
        in_backward=call is not None,
    )


def function_name(frame: FrameType) -> str:
    return str(getattr(frame.f_code, "co_qualname", frame.f_code.co_name))  # co_qualname: Python 3.11


def _thread_name(thread: int) -> str:
    """A thread's name. `threading.current_thread` would make an entry for one that Python does not know."""
    known: Any = vars(threading).get("_active", {})
    found = known.get(thread)
    return f"thread {thread}" if found is None else str(found.name)

"""`sys.monitoring` as the line clock uses it: a typed face, and a tool id that leaves other tools theirs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, cast

from gradwatch.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

TOOL_NAME = "gradwatch"
TOOL_IDS = (4, 3)
"""Ids 0, 1, 2 and 5 belong to debuggers, coverage, profilers and optimizers."""


class Events(Protocol):
    PY_START: int
    PY_RESUME: int
    PY_RETURN: int
    PY_YIELD: int
    PY_THROW: int
    PY_UNWIND: int
    LINE: int


class Monitoring(Protocol):
    """The part of `sys.monitoring` used here; declared so that it is checked under every Python."""

    DISABLE: object
    events: Events

    def use_tool_id(self, tool_id: int, name: str, /) -> None: ...
    def free_tool_id(self, tool_id: int, /) -> None: ...
    def get_tool(self, tool_id: int, /) -> str | None: ...
    def register_callback(self, tool_id: int, event: int, func: Callable[..., object] | None, /) -> object: ...
    def set_events(self, tool_id: int, event_set: int, /) -> None: ...
    def get_local_events(self, tool_id: int, code: CodeType, /) -> int: ...
    def set_local_events(self, tool_id: int, code: CodeType, event_set: int, /) -> None: ...
    def restart_events(self) -> None: ...


def is_supported() -> bool:
    """Return whether this Python has what the line clock needs."""
    return hasattr(sys, "monitoring")


def monitoring() -> Monitoring:
    """Return `sys.monitoring`; raises RecordingError where Python has none."""
    if not is_supported():
        version = ".".join(map(str, sys.version_info[:3]))
        raise RecordingError(
            f"The line clock needs Python 3.12 or later; this is {version}.\n"
            "Without it, lines come from module calls, and with detail='nodes' from saved tensors."
        )
    return cast("Monitoring", getattr(sys, "monitoring", None))


def claim_tool(monitoring: Monitoring) -> int:
    """Return the first free one of TOOL_IDS, now in our name; raises RecordingError when none is free."""
    for tool in TOOL_IDS:
        try:
            monitoring.use_tool_id(tool, TOOL_NAME)
        except ValueError:  # in use
            continue
        return tool
    holders = " and ".join(f"{tool} by {monitoring.get_tool(tool)!r}" for tool in TOOL_IDS)
    raise RecordingError(
        f"The line clock needs a tool id of sys.monitoring, and those it may use are taken: {holders}.\n"
        "Stop one of these tools; until then lines come from module calls."
    )

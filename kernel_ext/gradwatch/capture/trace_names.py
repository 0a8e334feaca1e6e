"""The name that the result of a running call is about to get, read from the instructions behind the call.

No variables are read: at the time of an op its result has no name yet, and later its function may have returned.
"""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING, Any

from gradwatch.capture.origins import LIBRARY

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from gradwatch.capture.origins import Origins

RETURNED = "\0"
"""The result is what the function returns: its caller may name it."""

_TRANSPARENT = frozenset({"CACHE", "RESUME", "PRECALL", "NOP", "COPY", "EXTENDED_ARG", "NOT_TAKEN"})
_STORES = frozenset({"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"})
_PAIRED = frozenset({"STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_MAYBE_NULL"})
_LOADS = frozenset({"LOAD_FAST", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK"})
MAX_CALLERS = 40
MAX_CODES = 2000


class ResultNames:
    """Names of call results by code and instruction, each read once."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._codes: dict[int, tuple[CodeType, dict[int, str]]] = {}

    def name_for(self, frame: FrameType | None) -> str:
        """The name that the value computed in `frame` now will have, there or where it is returned to; "" none."""
        for _ in range(MAX_CALLERS):
            if frame is None:
                return ""
            if self._origins[frame.f_code.co_filename] >= LIBRARY:
                name = self._names_of(frame.f_code).get(frame.f_lasti, "")
                if name != RETURNED:
                    return name
            frame = frame.f_back
        return ""

    def _names_of(self, code: CodeType) -> dict[int, str]:
        known = self._codes.get(id(code))
        if known is not None and known[0] is code:
            return known[1]
        if len(self._codes) >= MAX_CODES:
            self._codes.clear()
        names = names_in(code)
        self._codes[id(code)] = code, names
        return names


def names_in(code: CodeType) -> dict[int, str]:
    """By offset of an instruction, the name that what it computes gets, or RETURNED; others are left out."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in _TRANSPARENT]
    found: dict[int, str] = {}
    for at, step in enumerate(steps[:-1]):
        if not step.opname.startswith(("LOAD_CONST", "STORE", "POP", "JUMP")):
            name = _stored_as(steps[at + 1 : at + 4])
            if name:
                found[step.offset] = name
    return found


def _stored_as(steps: list[dis.Instruction]) -> str:
    first = steps[0]
    if first.opname == "RETURN_VALUE":
        return RETURNED
    if first.opname in _STORES:
        return str(first.argval)
    if first.opname in _PAIRED:
        both: tuple[Any, ...] | str = first.argval
        return both if isinstance(both, str) else str(both[0])
    if len(steps) > 1 and first.opname in _LOADS and steps[1].opname == "STORE_ATTR":
        return f"{first.argval}.{steps[1].argval}"
    if len(steps) > 2 and first.opname in _LOADS and steps[2].opname == "STORE_SUBSCR":
        return f"{first.argval}[{steps[1].argval!r}]" if steps[1].opname.startswith("LOAD_CONST") else ""
    return ""

"""Where the program stands: the stopped frame behind a debugger's evaluation, its names, and its callers."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import CO_OPTIMIZED
from types import CodeType
from typing import TYPE_CHECKING, Any

from gradwatch.capture.names import SNAPSHOT_FREE, SNAPSHOT_USERS, UNSHARED
from gradwatch.capture.origins import LIBRARY, Origins

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import FrameType

_DEBUGGERS = frozenset(
    {"pydevd", "_pydevd_bundle", "_pydev_bundle", "debugpy", "_pydevd_sys_monitoring", "_pydevd_frame_eval"}
)
_INJECTED = {"__builtins__", "globals"}
"""What evaluating adds to the names of a frame."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A frame of a stack and the one that it called (None: the innermost)."""

    frame: FrameType
    callee: FrameType | None


def stopped_frame(evaluation: FrameType, asked: Mapping[str, Any] | None) -> Standing:
    """The frame that a question is about. `asked` names it by file, line and function, as the debugger shows it.

    Without `asked`, or where no frame is as it says: the one whose names the evaluation was given, else the
    innermost of the program.
    """
    if not _is_evaluation(evaluation) and (asked is None or _is_asked(evaluation, asked)):
        return Standing(evaluation, None)
    stack = list(standing_above(evaluation))[1:]
    if asked is not None:
        found = [each for each in stack if _is_asked(each.frame, asked)]
        if len(found) > 1:  # recursion
            found = [each for each in found if _is_evaluated(each, evaluation)] or found
        if found:
            return found[0]
    origins = Origins()
    mine = [each for each in stack if origins[each.frame.f_code.co_filename] >= LIBRARY]
    evaluated = (each for each in mine if _is_evaluated(each, evaluation))
    return next(evaluated, mine[0] if mine else Standing(evaluation, None))


def standing_above(frame: FrameType | None) -> Iterator[Standing]:
    """`frame` and its callers, without those of a debugger."""
    callee = None
    while frame is not None:
        if not _is_debuggers(frame.f_code):
            yield Standing(frame, callee)
        frame, callee = frame.f_back, frame


def _is_debuggers(code: CodeType) -> bool:
    parts = code.co_filename.replace("\\", "/").split("/")
    return not _DEBUGGERS.isdisjoint(part.partition(".")[0] for part in parts)


def _is_evaluation(frame: FrameType) -> bool:
    """Whether a debugger evaluates text in this frame."""
    return frame.f_back is not None and _is_debuggers(frame.f_back.f_code)


def _is_asked(frame: FrameType, asked: Mapping[str, Any]) -> bool:
    line, file, function = asked.get("line"), asked.get("file"), asked.get("function")
    if line is not None and frame.f_lineno != line:
        return False
    if isinstance(function, str) and function.rpartition(".")[2] not in ("", frame.f_code.co_name):
        return False
    return not isinstance(file, str) or _same_file(frame.f_code.co_filename, file)


def _same_file(ours: str, asked: str) -> bool:
    # A debugger that maps paths, or names a notebook's cell, shows another folder: the name must do.
    return os.path.basename(ours) == os.path.basename(asked)  # noqa: PTH119  frames carry plain strings


def _is_evaluated(standing: Standing, evaluation: FrameType) -> bool:
    """Whether the evaluation was given this frame's names: pydevd joins globals and locals in one dictionary."""
    with frame_locals(standing) as local:
        given: dict[str, Any] = {**evaluation.f_globals, **evaluation.f_locals}
        if given.keys() - _INJECTED != (standing.frame.f_globals.keys() | local.keys()) - _INJECTED:
            return False
        return all(given[name] is value for name, value in local.items() if name not in _INJECTED)


@contextmanager
def frame_locals(standing: Standing) -> Generator[Mapping[str, Any]]:
    """A frame's variables, for reading while the program stands still.

    Before Python 3.13 reading a function's variables leaves a dict of them with its frame, which would keep
    tensors alive; it is emptied again, except where the program may hold it, or where a trace function runs
    for the frame: Python writes the dict back into the variables when that ends.
    """
    names: Any = standing.frame.f_locals
    try:
        yield names
    finally:
        if _is_left_behind(standing) and sys.getrefcount(names) <= UNSHARED:
            names.clear()


def _is_left_behind(standing: Standing) -> bool:
    frame, callee = standing.frame, standing.callee
    if SNAPSHOT_FREE or not frame.f_code.co_flags & CO_OPTIMIZED or frame.f_trace is not None:
        return False
    if SNAPSHOT_USERS.intersection(frame.f_code.co_names):
        return False
    return sys.gettrace() is None if callee is None else not _is_debuggers(callee.f_code)


def names_of(frame: FrameType, local: Mapping[str, Any]) -> dict[str, Any]:
    """What a frame's code can name: its variables, then the globals that it mentions.

    Nothing for the frame that a condition of ours stops in: what it holds is not the program's.
    """
    if frame.f_globals.get("__name__") == "__gradwatch__":
        return {}
    names = dict(local.items())
    if frame.f_code.co_flags & CO_OPTIMIZED:
        for name in _mentioned(frame.f_code):
            if name in frame.f_globals:
                names.setdefault(name, frame.f_globals[name])
    return names


def _mentioned(code: CodeType) -> Iterator[str]:
    """Names that code and the functions inside it look up outside of themselves."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _mentioned(constant)

"""Finds the Python name under which the program holds a tensor or a module."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from inspect import CO_OPTIMIZED
from typing import TYPE_CHECKING, Any

from gradwatch.capture.origins import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from types import FrameType

    from torch import nn

    from gradwatch.capture.origins import Origins

SNAPSHOT_FREE = sys.version_info >= (3, 13)

SNAPSHOT_USERS = frozenset({"locals", "vars", "eval", "exec", "dir"})
UNSHARED = 4 if sys.version_info >= (3, 11) else 5
"""What getrefcount says of a snapshot that only its frame and the reading below hold."""


class Namer:
    """Looks names up in frames of user code alone: ours and torch's hold everything under names of their own."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def name_of(self, value: object, frame: FrameType | None) -> str | None:
        """The name of `value` in `frame` or a caller of it: a local, a global, or an attribute of `self`.

        The innermost frame wins. None when no frame names it.
        """
        while frame is not None:
            if self._origins[frame.f_code.co_filename] >= LIBRARY:
                name = _name_in_frame(value, frame)
                if name is not None:
                    return name
            frame = frame.f_back
        return None

    def owner_of(self, module: nn.Module, frame: FrameType | None) -> nn.Module | None:
        """The module one of whose methods is running and that holds `module` as a part.

        A training_step calls parts of its model, not the model.
        """
        from torch import nn  # noqa: PLC0415 # a stop in a program without torch loads this file too

        while frame is not None:
            if self._origins[frame.f_code.co_filename] >= LIBRARY:
                with readable_locals(frame) as names:
                    owner = names.get("self")
                if isinstance(owner, nn.Module) and _holds(owner, module):
                    return owner
            frame = frame.f_back
        return None


def _holds(owner: nn.Module, module: nn.Module) -> bool:
    return owner is not module and any(part is module for part in owner.modules())


def _name_in_frame(value: object, frame: FrameType) -> str | None:
    with readable_locals(frame) as names:
        found = _key_of(value, names)
        if found is None:
            found = _attribute_of(value, names.get("self"))
    return found if found is not None else _key_of(value, frame.f_globals)


@contextmanager
def readable_locals(frame: FrameType) -> Generator[Mapping[str, Any]]:
    """A frame's local variables, for reading; empty where reading them would change the program.

    Before Python 3.13 a function's `f_locals` is one dict that its frame keeps, that `locals()` gives to
    the program, and that reading refreshes. Left filled, it would hold the program's tensors (and so its
    graphs) for as long as the function runs; so it is emptied, and functions that might hold it are left alone.
    """
    if SNAPSHOT_FREE or not frame.f_code.co_flags & CO_OPTIMIZED:
        yield frame.f_locals
        return
    if frame.f_trace is not None or sys.gettrace() is not None or SNAPSHOT_USERS.intersection(frame.f_code.co_names):
        yield {}
        return
    snapshot = frame.f_locals
    try:
        yield snapshot
    finally:
        if sys.getrefcount(snapshot) <= UNSHARED:
            snapshot.clear()


def _attribute_of(value: object, owner: object) -> str | None:
    attributes: dict[str, Any] = getattr(owner, "__dict__", {})
    return _key_of(value, attributes)


def _key_of(value: object, names: Mapping[str, Any]) -> str | None:
    for name, candidate in list(names.items()):
        if candidate is value and name != "self" and not name.startswith("_"):
            return name
    return None

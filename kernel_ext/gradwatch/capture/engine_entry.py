"""The one stand-in for torch's Python entry to autograd's engine. Whoever wants to see backward calls joins it.

Recorder, conditions and the watch for engine threads come and go in any order; torch's own function is given
back when the last has left.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry: TypeAlias = Callable[..., Any]
    Wrap: TypeAlias = Callable[[Entry], Entry]

NAME = "_engine_run_backward"


class _StandIn:
    """What stands in one module of torch's, and what it stands in for."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._original: Entry | None = None
        self._current: Entry | None = None
        self._function: Entry | None = None

    def rebuild(self, wraps: list[Wrap]) -> None:
        if not wraps:
            self._give_back()
            return
        if self._original is None:
            self._original = getattr(self._module, NAME)
        current: Any = self._original
        for wrap in wraps:
            current = wrap(current)
        self._current = current
        if self._function is None:
            self._function = self._standing_in()
            setattr(self._module, NAME, self._function)

    def _standing_in(self) -> Entry:
        def _engine_run_backward(t_outputs: Any, *arguments: Any, **options: Any) -> Any:
            assert self._current is not None  # noqa: S101 # set before this function is installed
            return self._current(t_outputs, *arguments, **options)

        return _engine_run_backward

    def _give_back(self) -> None:
        self._current = self._original  # for whoever still holds our function
        if getattr(self._module, NAME) is self._function:
            setattr(self._module, NAME, self._original)
            self._original = self._function = None
        # else another wrapped ours: it stays below theirs and passes calls through


_lock = threading.RLock()
_wraps: list[Wrap] = []
_places: list[Any] = [torch.autograd, torch.autograd.graph]  # as torch's own tracing code does
_stand_ins = [_StandIn(place) for place in _places]


def join(wrap: Wrap) -> None:
    """Let `wrap` make the function that stands in for the one it is given. Calls already running are not seen."""
    with _lock:
        _wraps.append(wrap)
        _rebuild()


def leave(wrap: Wrap) -> None:
    """Take out what `join` put in; nothing happens where it is not there."""
    with _lock:
        if wrap in _wraps:
            _wraps.remove(wrap)
            _rebuild()


def _rebuild() -> None:
    for stand_in in _stand_ins:
        stand_in.rebuild(_wraps)


def engine_options(arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The entry's arguments after its outputs, by name."""
    names = ("grad_tensors", "retain_graph", "create_graph", "inputs")
    return {**dict(zip(names, arguments, strict=False)), **options}


def running_outputs(frame: Any) -> list[Any]:
    """The roots of the backward calls that `frame` runs inside of, innermost call first.

    Read from the frames of the entry itself, so that calls begun before anyone joined are found. Frames of
    one call (torch's function, and ours around it) give the same roots, which stand here once.
    """
    found: list[Any] = []
    while frame is not None:
        if frame.f_code.co_name == NAME and "t_outputs" in frame.f_code.co_varnames:
            outputs = frame.f_locals.get("t_outputs")
            if outputs is not None and not any(outputs is known for known in found):
                found.append(outputs)
        frame = frame.f_back
    return found

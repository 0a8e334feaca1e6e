"""Tells when the compiler begins and ends its work in this process, also where it is imported later.

Dynamo runs callbacks around every compilation. Ours stand in for the two functions that run them: callbacks that
are registered are lost at `torch._dynamo.reset()`.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

DYNAMO = "torch._dynamo"
STANDS_IN = "gradwatch_stands_in"
"""An attribute of our function in the place of torch.compile, for whoever looks for traces."""

_torch: Any = torch
_STARTS, _ENDS = "run_start_callbacks", "run_end_callbacks"


class Watcher(Protocol):
    """Whoever wants to know. Called under a lock of dynamo's: neither may raise, nor compile."""

    def compiling_began(self) -> None: ...

    def compiling_ended(self) -> None: ...


_lock = threading.RLock()
_watchers: list[Watcher] = []
_handler: Any = None
_waiting: Callable[..., Any] | None = None
"""torch.compile itself, while ours stands in for it because dynamo is not imported yet."""


def join(watcher: Watcher) -> str | None:
    """Call `watcher` from the next compilation on. Returns why that cannot be, where it cannot."""
    with _lock:
        _watchers.append(watcher)
        if DYNAMO in sys.modules:
            return _stand_in()
        if _waiting is None:
            _await_import()
    return None


def leave(watcher: Watcher) -> None:
    """Take out what `join` put in; nothing happens where it is not there."""
    with _lock:
        if watcher in _watchers:
            _watchers.remove(watcher)
        if not _watchers:
            _await_no_more()
            _give_back()


def _stand_in() -> str | None:
    global _handler  # noqa: PLW0603 # one compiler, one process
    if _handler is not None:
        return None
    handler: Any = getattr(sys.modules.get("torch._dynamo.callback"), "callback_handler", None)
    if not all(callable(getattr(handler, name, None)) for name in (_STARTS, _ENDS)):
        return "this torch does not tell when it compiles"
    run_starts, run_ends = getattr(handler, _STARTS), getattr(handler, _ENDS)

    def run_start_callbacks(arguments: Any) -> None:
        run_starts(arguments)
        for watcher in _watchers:
            watcher.compiling_began()

    def run_end_callbacks(arguments: Any) -> None:
        for watcher in _watchers:
            watcher.compiling_ended()
        run_ends(arguments)

    setattr(handler, _STARTS, run_start_callbacks)
    setattr(handler, _ENDS, run_end_callbacks)
    _handler = handler
    return None


def _give_back() -> None:
    global _handler  # noqa: PLW0603 # likewise
    if _handler is not None:
        for name in (_STARTS, _ENDS):
            _handler.__dict__.pop(name, None)
        _handler = None


def _await_import() -> None:
    """Everything that compiles comes through torch.compile first, where no optimizer has imported dynamo before."""
    global _waiting  # noqa: PLW0603 # likewise
    original = _torch.compile

    @functools.wraps(original)
    def compile_(*arguments: Any, **options: Any) -> Any:
        with _lock:
            _await_no_more()
        importlib.import_module(DYNAMO)
        with _lock:
            if _watchers:
                _stand_in()
        return original(*arguments, **options)

    setattr(compile_, STANDS_IN, True)
    _waiting = original
    _torch.compile = compile_


def _await_no_more() -> None:
    global _waiting  # noqa: PLW0603 # likewise
    if _waiting is not None and getattr(_torch.compile, STANDS_IN, False):
        _torch.compile = _waiting
    _waiting = None

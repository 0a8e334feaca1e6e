"""gradwatch: see gradients, the autograd graph and the memory held for backward, and read them back later.

Importing this does nothing and loads no torch; torch loads when a recording starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradwatch._version import __version__
from gradwatch.errors import ExpectationFailed, GradwatchError, MissingDependency

if TYPE_CHECKING:
    from gradwatch.capture.recorder import Recorder, watch
    from gradwatch.expectations import expect
    from gradwatch.ipython import load_ipython_extension, unload_ipython_extension
    from gradwatch.opening import open  # noqa: A004  # the public name
    from gradwatch.session.session import Session

__all__ = [
    "ExpectationFailed",
    "GradwatchError",
    "Recorder",
    "Session",
    "__version__",
    "expect",
    "load_ipython_extension",
    "open",
    "unload_ipython_extension",
    "watch",
]

_ROOMS = {
    "Recorder": "gradwatch.closing",
    "watch": "gradwatch.closing",
    "Session": "gradwatch.session.session",
    "open": "gradwatch.opening",
    "expect": "gradwatch.expectations",
    "load_ipython_extension": "gradwatch.ipython",
    "unload_ipython_extension": "gradwatch.ipython",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415  # importing gradwatch loads nothing it does not need

    if name not in _ROOMS:
        raise AttributeError(f"module 'gradwatch' has no attribute {name!r}")
    try:
        value = getattr(import_module(_ROOMS[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependency(f"gradwatch.{name}", "torch", "torch") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

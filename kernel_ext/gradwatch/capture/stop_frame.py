"""The frame that a stop in backward lands in: its locals are what the user sees, and it counts as user code.

NOTE [User code]
With justMyCode (the default) debuggers neither stop in installed packages nor show their frames. A wheel of
gradwatch is one. So the function is compiled under a file name outside of every package; there is no such file,
its text is in `linecache`, from where debuggers take it.
"""

from __future__ import annotations

import linecache
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradwatch.capture.attached_debugger import give_one_tab, is_attached, pause_in

if TYPE_CHECKING:
    from types import FunctionType

TEXT: str = """\
# gradwatch stopped here, inside backward: `reason` says why, and the panel shows the node.
# Continue as from any breakpoint, or take "Step to Next Node" in the panel.


def backward(node, grad_outputs, grad_inputs, saved_tensors, module, forward_line, reason):
    pause()
    return  # grad_inputs is None: the node is about to run; else it has just run
"""
FILE_NAME = "gradwatch (stopped in backward).py"
_PACKAGES = ("site-packages", "dist-packages")


def show(stop: dict[str, Any]) -> None:
    """Stop the debugger in a frame with these locals. Does nothing where none is attached."""
    if is_attached():
        function = stop_function()
        give_one_tab(function.__code__.co_filename)
        function(**stop)


@cache
def stop_function() -> FunctionType:
    """The function in TEXT, compiled as user code."""
    name = _user_path()
    lines: list[str] = str(TEXT).splitlines(keepends=True)
    linecache.cache[name] = (len(TEXT), None, lines, name)  # None: never checked on disk
    namespace: dict[str, Any] = {"__name__": "__gradwatch__", "pause": _pause}
    exec(compile(TEXT, name, "exec"), namespace)  # noqa: S102 # our own text
    return namespace["backward"]


def _pause() -> None:
    pause_in(sys._getframe(1))


def _user_path() -> str:
    directory = os.getcwd()  # noqa: PTH109 # a plain string, as co_filename is
    inside_a_package = any(part in _PACKAGES for part in Path(directory).parts)
    return os.path.join(os.path.abspath(os.sep) if inside_a_package else directory, FILE_NAME)  # noqa: PTH100, PTH118 # as above

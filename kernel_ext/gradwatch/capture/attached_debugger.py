"""The debugger that is attached to this process, if one is: pydevd, which debugpy and the IDEs bring along.

Asked for by name in `sys.modules`: a subprocess has pydevd without debugpy, and nothing of it is imported here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


def is_attached() -> bool:
    """Whether a client looks at this process now: a debugger that waits for one would never let go of a stop."""
    pydevd: Any = sys.modules.get("pydevd")
    ask = getattr(pydevd, "_is_attached", None)  # what debugpy.is_client_connected() asks
    return ask is not None and bool(ask())


def pause_in(frame: FrameType) -> None:
    """Stop at the next line of `frame`, which runs on this thread. Does nothing where no debugger is attached."""
    if is_attached():
        pydevd: Any = sys.modules["pydevd"]
        pydevd.settrace(
            suspend=True,
            trace_only_current_thread=True,
            patch_multiprocessing=False,
            notify_stdin=False,
            stop_at_frame=frame,
        )


def trace_this_thread() -> None:
    """Make the debugger aware of this thread, which Python did not start. Does nothing where none is attached."""
    if is_attached():
        pydevd: Any = sys.modules["pydevd"]
        pydevd.settrace(suspend=False, trace_only_current_thread=True, patch_multiprocessing=False, notify_stdin=False)


def give_one_tab(file_name: str) -> None:
    """Let editors show a file that is in `linecache` alone in one tab: pydevd numbers it anew at each stop else."""
    files: Any = sys.modules.get("pydevd_file_utils")
    references = getattr(files, "_client_filename_in_utf8_to_source_reference", None)  # there is no public setter
    if isinstance(references, dict) and file_name not in references:
        references[file_name] = files.create_source_reference_for_linecache(file_name)

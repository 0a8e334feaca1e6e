# ruff: noqa: INP001  # a text that the extension sends, not a module of a package
"""Runs in the debugged program, by exec, once per question: finds `gradwatch.debugger`, or says why it cannot.

Leaves `door` in its namespace: from a question's JSON to an answer's JSON. The caller must call it in the
evaluated frame itself, for `answer` looks at its caller's names. Where torch is not loaded it loads nothing.
Nothing is raised, so that an error of the whole expression means: not Python.
"""

import json
import os
import platform
import sys
import traceback
from collections.abc import Callable


def refuse(kind: str, **value: object) -> Callable[[str], str]:
    text = json.dumps({"kind": kind, "value": value})
    return lambda question: text  # noqa: ARG005  # the same for every question


def opened() -> Callable[[str], str]:
    if "torch" not in sys.modules:
        return refuse("No torch", pid=os.getpid())
    try:
        from gradwatch.debugger import answer  # noqa: PLC0415  # only a program that uses torch pays for it
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "gradwatch":
            return failed(error)
        return refuse("Not importable", executable=sys.executable or "", version=platform.python_version())
    except Exception as error:  # noqa: BLE001  # whatever a broken installation raises is an answer too
        return failed(error)
    return answer


def failed(error: Exception) -> Callable[[str], str]:
    return refuse(
        "Failure",
        error=type(error).__name__,
        message=f"gradwatch cannot be loaded: {error}",
        traceback=traceback.format_exc(),
    )


door = opened()

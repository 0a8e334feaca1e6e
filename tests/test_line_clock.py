"""The line clock, in programs of its own: one run for each program and each Python >= 3.12 on this machine.

The programs stand in tests/lines_programs; each asserts for itself that every node got its own line.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "lines_programs"
PACKAGE_ROOT = Path(__file__).parent.parent / "kernel_ext"
NAMES = ("python3.12", "python3.13", "python3.14", "python3.15")
PROMISES = {
    "syntax": "every construct charges each op to the line it stands on",
    "suspension": "generators, coroutines and tasks that take turns keep their own lines",
    "exceptions": "errors caught anywhere leave the right line, and the program's own alarms go through",
    "already_running": "functions entered before start() are seen, and those after a second start()",
    "threads": "each thread has its own numbers and lines",
    "libraries": "library lines and project lines are both kept; cells and evaluated code have lines",
    "tools": "other tools keep working, stop() leaves nothing, and a broken clock switches itself off",
}


@cache
def interpreters() -> dict[str, str]:
    """Return one working interpreter for each Python from 3.12 on, by version."""
    candidates = [sys.executable, *filter(None, map(shutil.which, NAMES))]
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")))  # noqa: PTH111, PTH207
    found: dict[str, str] = {}
    for candidate in candidates:
        version = version_of(candidate)
        if version is not None and version >= (3, 12):
            found.setdefault(".".join(map(str, version)), candidate)
    return found


def version_of(interpreter: str) -> tuple[int, ...] | None:
    question = [interpreter, "-c", "import sys; print(*sys.version_info[:2])"]
    answer = subprocess.run(question, capture_output=True, text=True, check=False)
    return tuple(map(int, answer.stdout.split())) if answer.returncode == 0 else None  # a shim may name nothing


def run(interpreter: str, program: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [interpreter, str(PROGRAMS / f"{program}.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "right" in ended.stdout


@pytest.mark.parametrize("program", PROMISES, ids=PROMISES.values())
@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_program_gets_every_line_right(version: str, program: str) -> None:
    interpreter = interpreters().get(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} on this machine")
    run(interpreter, program)


def test_every_program_is_run() -> None:
    files = {path.stem for path in PROGRAMS.glob("*.py")}
    assert files - {"clockwork", "autograd_nodes"} == set(PROMISES)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the line clock needs Python 3.12")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_every_autograd_node_of_a_small_transformer_gets_its_line() -> None:
    run(sys.executable, "autograd_nodes")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python has what the line clock needs")
def test_an_older_python_is_told_what_it_lacks() -> None:
    from gradwatch.capture.line_clock import LineClock
    from gradwatch.capture.sites import SiteTable
    from gradwatch.errors import RecordingError

    with pytest.raises(RecordingError, match=r"needs Python 3\.12 or later; this is 3\.1[01]"):
        LineClock(int, SiteTable()).start()

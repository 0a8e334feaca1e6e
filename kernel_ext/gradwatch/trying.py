"""`gradwatch try`: runs a program until one step was measured without a change and one with it, and compares them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradwatch import launch
from gradwatch.errors import RecordingError
from gradwatch.records import Notice, Trial
from gradwatch.reporters.terminal_trial import TrialReport, trial_report, trial_text
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Generator


def run(request: launch.Request, trial: launch.TrialRequest, *, as_json: bool) -> int:
    """Run and record the program as `gradwatch run` does, and print what was measured.

    Raises RecordingError where the program ended before it was.
    """
    request = replace(request, trial=trial, quiet=True)
    program, variables = launch.command(request), launch.environment(request)
    with _interrupts_left_to_the_program():
        output = sys.stderr if as_json else None  # stdout is the report's
        code = subprocess.call(program, env=variables, stdout=output)  # noqa: S603 -- the user's own program
    path = Path(launch.session_path(request, variables))
    reports, why = _read(path)
    if not reports:
        raise RecordingError(f"{request.program.name} ended (exit code {code}) {why or _too_early(trial.plain_step)}")
    sys.stdout.write(json.dumps(reports[-1], indent=2) + "\n" if as_json else trial_text(reports[-1]))
    sys.stdout.flush()
    return 0


def _read(path: Path) -> tuple[list[TrialReport], str]:
    """The trials of a session, and why there is none where it says so."""
    if not path.exists():
        return [], "before anything was recorded"
    with Session(path) as session:
        reports = [trial_report(session, trial) for trial in session.reader.records(Trial)]
        told = [notice.text for notice in session.reader.records(Notice) if "could not be tried" in notice.text]
    return reports, f"and {told[-1]}" if told else ""


def _too_early(plain_step: int) -> str:
    return f"before one step from step {plain_step} on, and the next, were measured. Try earlier ones with --at."


@contextmanager
def _interrupts_left_to_the_program() -> Generator[None, None, None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the program from the terminal
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""The diff command: two sessions, two steps of one, or folders of ranks in; a report on stdout, the exit code back."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gradwatch.errors import UsageError
from gradwatch.reporters import page
from gradwatch.reporters.diff_ranks import ranks_report
from gradwatch.reporters.diff_report import diff_report
from gradwatch.reporters.json import dumps
from gradwatch.reporters.terminal_diff import diff as lay_out
from gradwatch.reporters.terminal_diff_ranks import ranks as lay_out_ranks
from gradwatch.session.compare import EXACT, Tolerance, compare
from gradwatch.session.ranks import rank_files
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from rich.console import RenderableType

    from gradwatch.reporters.json import Report

PARTED = 1
INCOMPLETE = 2


def diff(options: Namespace) -> int:
    """Compare, print, and return 1 where the sessions part. Raises GradwatchError for what cannot be compared."""
    steps = chosen_steps(options.step)
    folders = [Path(each).is_dir() for each in (options.file, options.other) if each is not None]
    if all(folders):
        return _diff_ranks(options, steps)
    if any(folders):
        raise UsageError(
            f"{options.file} and {options.other} are a file and a folder. Name two files, or two folders of rank files."
        )
    if options.other is None and (steps is None or steps[0] == steps[1]):
        raise UsageError(
            f"There is nothing to compare {options.file} with.\n"
            "Name another session, or two steps of this one: gradwatch diff FILE --step 3:7"
        )
    with ExitStack() as opened:
        a = opened.enter_context(Session(options.file))
        b = a if options.other is None else opened.enter_context(Session(options.other))
        ranks = a.run.rank != b.run.rank and (steps is None or steps[0] == steps[1])
        report = diff_report(compare(a, b, steps=steps, tolerance=_tolerance(options), ranks=ranks))
    _write(cast("Report", report), options, lambda width: lay_out(report, width))
    return PARTED if report["parts"] else 0


def _diff_ranks(options: Namespace, steps: tuple[int, int] | None) -> int:
    """Compare ranks. What could not be compared is no agreement: then the code is that of bad input."""
    a = rank_files(Path(options.file))
    b = None if options.other is None else rank_files(Path(options.other))
    report = ranks_report(a, b, steps=steps, tolerance=_tolerance(options))
    _write(cast("Report", report), options, lambda width: lay_out_ranks(report, width))
    return PARTED if report["parts"] else 0 if report["complete"] else INCOMPLETE


def _write(report: Report, options: Namespace, lay_out_at: Callable[[int], RenderableType]) -> None:
    if options.json:
        sys.stdout.write(dumps(report))  # spelled alike, though it is of two sessions
    else:
        page.write(lay_out_at, sys.stdout)
    sys.stdout.flush()


def chosen_steps(text: str | None) -> tuple[int, int] | None:
    """Read "3" as step 3 of both and "3:7" as step 3 of the first with step 7 of the second. Raises UsageError."""
    if text is None:
        return None
    first, colon, second = text.partition(":")
    if not first.isdecimal() or (colon and not second.isdecimal()):
        raise UsageError(f"--step {text} is no step. Give the number of one, or of one in each session: 3 or 3:7")
    return int(first), int(second) if colon else int(first)


def _tolerance(options: Namespace) -> Tolerance:
    if options.exact:
        if options.rtol is not None or options.atol is not None:
            raise UsageError("--exact leaves no tolerance: give it without --rtol and --atol.")
        return EXACT
    given = {name: value for name in ("rtol", "atol") if (value := getattr(options, name)) is not None}
    for name, value in given.items():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"--{name} {value} is no tolerance: it must be 0 or more, and finite.")
    return Tolerance(**given)

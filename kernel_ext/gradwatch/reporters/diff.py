"""The diff command: two session files, or two steps of one, in; a report on stdout out; the exit code back."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from gradwatch.errors import UsageError
from gradwatch.reporters import page
from gradwatch.reporters.diff_report import diff_report
from gradwatch.reporters.json import dumps
from gradwatch.reporters.terminal_diff import diff as lay_out
from gradwatch.session.compare import EXACT, Tolerance, compare
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from argparse import Namespace

    from gradwatch.reporters.json import Report

PARTED = 1


def diff(options: Namespace) -> int:
    """Compare, print, and return 1 where the sessions part. Raises GradwatchError for what cannot be compared."""
    steps = chosen_steps(options.step)
    if options.other is None and (steps is None or steps[0] == steps[1]):
        raise UsageError(
            f"There is nothing to compare {options.file} with.\n"
            "Name another session, or two steps of this one: gradwatch diff FILE --step 3:7"
        )
    with ExitStack() as opened:
        a = opened.enter_context(Session(options.file))
        b = a if options.other is None else opened.enter_context(Session(options.other))
        report = diff_report(compare(a, b, steps=steps, tolerance=_tolerance(options)))
    if options.json:
        sys.stdout.write(dumps(cast("Report", report)))  # spelled alike, though it is of two sessions
    else:
        page.write(lambda width: lay_out(report, width), sys.stdout)
    sys.stdout.flush()
    return PARTED if report["parts"] else 0


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

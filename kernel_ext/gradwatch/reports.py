"""The reporting commands: a session file and options in, a report on stdout out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gradwatch.errors import UsageError
from gradwatch.reporters import content, page, terminal, terminal_findings, terminal_ranks
from gradwatch.reporters.json import dumps
from gradwatch.reporters.show_ranks import show_ranks_report
from gradwatch.reporters.terminal_graph import TreeOptions
from gradwatch.session.rank_sessions import RankSessions
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from rich.console import RenderableType

    from gradwatch.reporters.json import Report


def show(options: Namespace) -> None:
    if Path(options.file).is_dir():
        show_ranks(options)
        return
    with Session(options.file) as session:
        report = content.show_report(session, options.step)
    _write(report, options, lambda width: terminal.show(report, width))


def show_ranks(options: Namespace) -> None:
    """Show a folder of ranks. Raises UsageError where a step is asked for."""
    if options.step is not None:
        raise UsageError(f"{options.file} is a folder: --step is of one session. Name one of the files in it.")
    with RankSessions(options.file) as sessions:
        report = show_ranks_report(sessions)
    if options.json:
        sys.stdout.write(dumps(cast("Report", report)))  # spelled alike, though it is of several sessions
    else:
        page.write(lambda width: terminal_ranks.show_ranks(report, width), sys.stdout)
    sys.stdout.flush()


def why(options: Namespace) -> None:
    with Session(options.file) as session:
        report = content.why_report(session, options.name, options.step)
    _write(report, options, lambda width: terminal_findings.why(report, width))


def gradients(options: Namespace) -> None:
    with Session(options.file) as session:
        report = content.gradients_report(
            session,
            options.step,
            options.kind,
            options.sort,
            only_trouble=options.only_trouble,
            backward=options.backward,
        )
    _write(report, options, lambda width: terminal.gradients(report, width))


def held(options: Namespace) -> None:
    with Session(options.file) as session:
        report = content.held_report(session, options.step, options.by, options.backward)
    _write(report, options, lambda width: terminal.held(report, width, max(0, options.top)))


def graph(options: Namespace) -> None:
    with Session(options.file) as session:
        report = content.graph_report(session, options.step, options.backward)
    tree = TreeOptions(options.module, options.depth, options.nodes)
    _write(report, options, lambda width: terminal.graph(report, width, tree))


def _write(report: Report, options: Namespace, lay_out: Callable[[int], RenderableType]) -> None:
    if options.json:
        sys.stdout.write(dumps(report))
    else:
        page.write(lay_out, sys.stdout)
    sys.stdout.flush()

"""The reporting commands: a session file and options in, a report on stdout out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gradwatch.reporters import content, page, terminal
from gradwatch.reporters.json import dumps
from gradwatch.reporters.terminal_graph import TreeOptions
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from rich.console import RenderableType

    from gradwatch.reporters.json import Report


def show(options: Namespace) -> None:
    with Session(options.file) as session:
        report = content.show_report(session, options.step)
    _write(report, options, lambda width: terminal.show(report, width))


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

"""Reports for the terminal: content in, page out.

Sentence first, then picture, then numbers; colour only for trouble.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page, terminal_findings
from gradwatch.reporters.glyphs import STATES
from gradwatch.reporters.gradient_rows import common_prefix, grouped, merged
from gradwatch.reporters.terminal_gradients import gradients_table
from gradwatch.reporters.terminal_graph import TreeOptions, graph_sentence, graph_tree
from gradwatch.reporters.terminal_held import classes_line, held_bars, held_sentence
from gradwatch.reporters.terminal_region import region_listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from gradwatch.records import SubjectKind
    from gradwatch.reporters.json import (
        GradientRow,
        GradientsReport,
        GraphReport,
        GraphSummary,
        HeldReport,
        HeldRows,
        HeldSummary,
        NoticeRow,
        Series,
        SessionHead,
        ShowReport,
    )

SHOWN_GRADIENTS = 40
"""Rows of `show`'s gradient table: more are put together by module."""

SHOWN_HELD = 6
CURVE_WIDTH = 40


_SUBJECTS: dict[SubjectKind, str] = {
    "parameter": "parameters",
    "local": "parameters on this rank, before reduction,",
    "module": "module outputs",
    "node": "autograd nodes",
}
_NO_LOCAL = "there are none: no DDP or FSDP module of this program reduced them over ranks"


def show(report: ShowReport, width: int) -> RenderableType:
    """Lay out `gradwatch show`, `width` columns wide."""
    step = report["step"]
    parts: list[RenderableType | None] = [
        _header(report["session"]),
        terminal_findings.section(report["findings"], _command(report["session"], "why"), width),
        _curves(report),
        _gradients(report, width) if report["gradients"] else None,
        _held(report["held"], width) if report["held"] else None,
        _graph(report["graph"]) if report["graph"] else None,
        _notices(report["notices"]) if report["notices"] else None,
        Text("No step was over when the recording ended.", "yellow") if step is None else _next(report, width),
    ]
    blank = Text("")
    return Group(*itertools.chain.from_iterable((part, blank) for part in parts if part))


def gradients(report: GradientsReport, width: int) -> RenderableType:
    """Lay out `gradwatch gradients`."""
    rows = report["gradients"]
    title = f"Gradients of {_SUBJECTS[report['kind']]} at step {report['step']}"
    if not rows:
        none = _NO_LOCAL if report["kind"] == "local" else "there are none"
        return page.section(title, "", Text("all are finite" if report["only_trouble"] else none, "dim"))
    return page.section(title, _states(rows), gradients_table([(row["name"], row) for row in rows], width - 2))


def held(report: HeldReport, width: int, top: int = 0) -> RenderableType:
    """Lay out `gradwatch held`; `top` 0 is every row."""
    summary = report["held"]
    bars: list[RenderableType] = [held_bars(split, width - 2, top, ": --top 0 shows them") for split in summary["by"]]
    if _lacks_lines(report):
        bars.append(Text("Lines of operations need Python 3.12 or later, or --detail nodes.", "dim"))
    return page.section(f"Held for backward at step {summary['step']}", held_sentence(summary), *bars)


def graph(report: GraphReport, width: int, options: TreeOptions | None = None) -> RenderableType:
    """Lay out `gradwatch graph`. Raises UsageError for a module that the graph does not have."""
    tree = graph_tree(report, width - 2, options or TreeOptions())
    regions = (region_listing(region, width - 2) for region in report["regions"])
    return page.section(f"Graph at step {report['graph']['step']}", graph_sentence(report["graph"]), tree, *regions)


def _header(head: SessionHead) -> RenderableType:
    length = f"{numbers.counted(head['steps'], 'step')} in {numbers.duration(head['duration_seconds'] * 1e9)}"
    cost = f", {numbers.percent(head['cost_fraction'])} of it gradwatch's own"
    lines = [
        Text.assemble((PurePath(head["path"]).name, "bold"), "  ", length, (cost, "dim")),
        Text(shlex.join(head["argv"])),
        Text(" · ".join(_origin(head)), "dim"),
    ]
    if head["gaps"]:
        lines.append(
            Text(f"{glyphs.NOTICE} {numbers.counted(head['gaps'], 'part')} of the file could not be read.", "yellow")
        )
    if head["finish_reason"] is None:
        told = "The recording was not closed: its process was killed, or is still running."
        lines.append(Text(f"{glyphs.NOTICE} {told}", "yellow"))
    return Group(*lines)


def _origin(head: SessionHead) -> list[str]:
    started = head["started"].replace("T", " ").replace("+00:00", " UTC")
    parts = [started, f"{head['hostname']}, {', '.join(head['devices']) or 'cpu'}"]
    if head["world_size"] > 1:
        parts.append(f"rank {head['rank']} of {head['world_size']}")
    parts += [f"torch {head['torch_version']}", f"detail {head['detail']}"]
    if head["git_revision"]:
        parts.append(f"git {head['git_revision'][:7]}{' with changes' if head['git_dirty'] else ''}")
    return parts


def _curves(report: ShowReport) -> RenderableType | None:
    made = page.table(("", "left"), ("", "right"), ("", "left"), ("", "left"))
    made.show_header = False
    _add_curve(made, "loss", report["loss"], numbers.scalar, logarithmic=False)
    _add_curve(made, "loss scale", report["loss_scale"], numbers.scalar, logarithmic=True)
    _add_curve(made, "gradient norm", report["gradient_norm"], numbers.gradient, logarithmic=True)
    skipped = report["skipped_steps"]
    if skipped:
        last = f"NaN or Inf under this loss scale, last at step {skipped[-1]}"
        made.add_row(Text("skipped steps", "dim"), str(len(skipped)), Text(last, "yellow"), "")
    return made if made.row_count else None


def _add_curve(
    made: Table, name: str, series: Series, write: Callable[[float | None], str], *, logarithmic: bool
) -> None:
    values = [value for value in series["values"] if value is not None]
    if values:
        drawn = page.curve_cell(series["values"], CURVE_WIDTH, page.ACCENT, logarithmic=logarithmic)
        last = Text(write(values[-1]), "" if math.isfinite(values[-1]) else page.TROUBLE["NaN"])
        made.add_row(Text(name, "dim"), write(values[0]), drawn, last)


def _gradients(report: ShowReport, width: int) -> RenderableType:
    rows = report["gradients"]
    groups = grouped(rows, SHOWN_GRADIENTS)
    named = [_group_row(group) for group in groups]
    worst_first = sorted(range(len(named)), key=lambda index: -STATES.index(named[index][1]["state"]))
    shown = [named[index] for index in sorted(worst_first[:SHOWN_GRADIENTS])]
    body: list[RenderableType] = [gradients_table(shown, width - 2)]
    if len(shown) < len(rows):
        what = f"{numbers.counted(len(rows), 'parameter')} in {numbers.counted(len(groups), 'row')}"
        cut = f", {len(groups) - len(shown)} of them not shown" if len(shown) < len(groups) else ""
        body.append(Text(f"{what}{cut}; each by itself: {_command(report['session'], 'gradients')}", "dim"))
    return page.section(f"Gradients at step {report['step']}", _states(rows), *body)


def _group_row(group: Sequence[GradientRow]) -> tuple[str, GradientRow]:
    if len(group) == 1:
        return group[0]["name"], group[0]
    name = f"{common_prefix(group)} {numbers.TIMES}{len(group)}"
    return name, merged(name, group)


def _states(rows: Sequence[GradientRow]) -> Text:
    """`all 10 finite`, or the trouble first: `2 NaN, 1 None, 7 finite`."""
    found = Counter(row["state"] for row in rows)
    if found["finite"] == len(rows):
        return Text(f"all {numbers.count(len(rows))} finite", "dim")
    said = Text()
    for state in (state for state in reversed(STATES) if found[state]):
        said.append(", " if said else "", "dim")
        said.append(f"{numbers.count(found[state])} {state}", page.TROUBLE.get(state, "dim"))
    return said


def _held(summary: HeldSummary, width: int) -> RenderableType:
    by = {split["key"]: split for split in summary["by"]}
    body: list[RenderableType] = [classes_line(summary)]
    body.append(held_bars(by["line"] if _has_lines(by["line"]) else by["module"], width - 2, SHOWN_HELD))
    return page.section(f"Held for backward at step {summary['step']}", held_sentence(summary), *body)


def _lacks_lines(report: HeldReport) -> bool:
    head, splits = report["session"], report["held"]["by"]
    unknown = any(split["key"] == "line" and split["rows"] and not _has_lines(split) for split in splits)
    return unknown and head["line_source"] == "module calls" and head["detail"] != "nodes"


def _has_lines(split: HeldRows) -> bool:
    return bool(split["rows"]) and split["rows"][0]["place"] is not None


def _graph(summary: GraphSummary) -> RenderableType:
    made = page.table(("saves most", "left"), ("", "left"), ("module", "left"), ("saved", "right"), ("line", "left"))
    places = page.Places([saver["place"] for saver in summary["largest"]])
    for saver in summary["largest"]:
        times = f"{numbers.TIMES}{numbers.count(saver['nodes'])}" if saver["nodes"] > 1 else ""
        place = Text(places.name(saver["place"]), page.ACCENT)
        made.add_row(saver["name"], times, saver["module"] or "", numbers.size(saver["saved_bytes"]), place)
    return page.section(
        f"Graph at step {summary['step']}", graph_sentence(summary), *([made] if made.row_count else [])
    )


def _notices(notices: Sequence[NoticeRow]) -> RenderableType:
    lines: list[RenderableType] = []
    for notice in notices:
        where = f" (step {notice['step']})" if notice["step"] is not None else ""
        times = f" {numbers.TIMES}{notice['count']}" if notice["count"] > 1 else ""
        lines.append(
            Text.assemble((f"{glyphs.NOTICE} {notice['kind']}", "yellow"), f"  {notice['text']}{where}", (times, "dim"))
        )
    return page.section("To know", "", *lines)


def _next(report: ShowReport, width: int) -> RenderableType:
    head = report["session"]
    commands = [(_command(head, "gradients --sort norm"), "every parameter")]
    if report["held"] and report["held"]["by"]:
        commands.append((_command(head, "held --by op"), "or by line, module, node, dtype, class"))
    if report["graph"]:
        commands.append((_command(head, "graph"), "modules, operations, source lines"))
    longest = max(len(command) for command, _ in commands)
    lines = [Text.assemble("  ", command.ljust(longest + 2), (what, "dim")) for command, what in commands]
    for line, (command, _) in zip(lines, commands, strict=True):
        if line.cell_len > width:
            line.truncate(len(command) + 2)
        line.no_wrap, line.overflow = True, "ignore"  # a command is there to be copied: it stays whole
    return Group(page.heading("Next"), *lines)


def _command(head: SessionHead, words: str) -> str:
    name, *options = words.split(" ", 1)
    return " ".join(["gradwatch", name, shlex.quote(head["path"]), *options])

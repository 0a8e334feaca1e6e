"""Reports as a notebook shows them: HTML and plain text in one bundle, cells called by their numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from rich.console import Group

from gradwatch.reporters import content, html, numbers, page, svg, terminal, terminal_findings
from gradwatch.reporters.gradient_rows import common_prefix, grouped, merged
from gradwatch.reporters.terminal_graph import TreeOptions, graph_sentence, graph_tree
from gradwatch.reporters.terminal_held import classes_line, held_bars

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping

    from rich.console import RenderableType

    from gradwatch.reporters.json import GradientRow, GradientsReport, HeldKey, HeldReport, NoticeRow, ShowReport
    from gradwatch.session.session import Session

Bundle = dict[str, str]
NameOfCell: TypeAlias = "Callable[[str], str | None]"
"""Gives the name of the cell that a file name of IPython's stands for, as in tracebacks: In[3]."""

SVG = "image/svg+xml"
TEXT_WIDTH = 100
TEXT_ROWS = 40
TEXT_HELD = 12
NOT_TRAINED = "Nothing trained in this cell: no backward() call was seen."
NOT_TRAINED_HINT = (
    "Run the training loop in the cell. What child processes train is not seen. "
    "What a live graph holds: %gradwatch held loss"
)

_UNKNOWN_CELL = re.compile(r"(?:^|[/\\])ipykernel_\d+[/\\](\d{1,4})\d*\.py$|^<ipython-input-(\d+)-\w+>$")

R = TypeVar("R")


def show(session: Session, name_of_cell: NameOfCell, step: int | None = None, hint: str = "") -> Bundle:
    """Bundle a session's gradient flow and held memory. Raises UsageError for an unknown step."""
    report = _with_cells(content.show_report(session, step), session, name_of_cell)
    return _bundle(html.show(report, hint=hint), *_show_texts(report), hint)


def picture(session: Session, name_of_cell: NameOfCell, step: int | None = None, hint: str = "") -> Bundle:
    """Bundle the same as a picture, for wherever nothing runs. Raises UsageError for an unknown step."""
    report = _with_cells(content.show_report(session, step), session, name_of_cell)
    return {SVG: svg.picture(report, hint=hint), **_text(*_show_texts(report), hint)}


def picture_of_message(sentence: str, hint: str = "") -> Bundle:
    return {SVG: svg.message(sentence, hint), "text/plain": "\n".join(filter(None, (sentence, hint)))}


def _show_texts(report: ShowReport) -> list[RenderableType]:
    texts: list[RenderableType] = [html.summary(report)]
    found = terminal_findings.section(report["findings"], "%gradwatch why", TEXT_WIDTH)
    texts += [] if found is None else [found]
    if report["gradients"] and report["step"] is not None:
        texts.append(terminal.gradients(_grouped_gradients(report), TEXT_WIDTH))
    if report["held"] is not None:
        held: HeldReport = cast("HeldReport", {**report, "held": {**report["held"], "by": report["held"]["by"][:1]}})
        texts.append(terminal.held(held, TEXT_WIDTH, TEXT_HELD))
    return [*texts, *(f"{notice['kind']}: {notice['text']}" for notice in report["notices"])]


def why(session: Session, name_of_cell: NameOfCell, options: Namespace) -> Bundle:
    report = _with_cells(content.why_report(session, options.name, options.step), session, name_of_cell)
    return _bundle(html.why(report), terminal_findings.why(report, TEXT_WIDTH))


def gradients(session: Session, name_of_cell: NameOfCell, options: Namespace) -> Bundle:
    report = content.gradients_report(session, options.step, options.kind, options.sort)
    report = _with_cells(report, session, name_of_cell)
    return _bundle(html.gradients(report), terminal.gradients(report, TEXT_WIDTH))


def held(session: Session, name_of_cell: NameOfCell, step: int | None, by: HeldKey) -> Bundle:
    report = _with_cells(content.held_report(session, step, by), session, name_of_cell)
    return _bundle(html.held(report), terminal.held(report, TEXT_WIDTH, TEXT_ROWS))


def graph(session: Session, name_of_cell: NameOfCell, step: int | None) -> Bundle:
    report = _with_cells(content.graph_report(session, step), session, name_of_cell)
    return _bundle(html.graph(report), terminal.graph(report, TEXT_WIDTH, TreeOptions()))


def held_now(session: Session, name_of_cell: NameOfCell, what: str, by: HeldKey | None) -> Bundle:
    """Bundle what a live tensor's graph holds; `session` is its late session."""
    keys: list[HeldKey] = [by] if by else ["line", "module"] if session.sources else ["module", "op"]
    reports = [content.held_report(session, None, key) for key in keys]
    report = reports[0]
    report["held"]["by"] = [split for each in reports for split in each["held"]["by"]]
    report = _with_cells(report, session, name_of_cell)
    notices = _notices(session)
    summary, when = report["held"], f"held through {what} now"
    bars = [held_bars(split, TEXT_WIDTH - 2, TEXT_HELD) for split in summary["by"]]
    said = page.section(f"{numbers.size(summary['total_bytes'])} {when}", "", classes_line(summary), *bars)
    return _bundle(html.held(report, when=when, notices=notices), said, *(notice["text"] for notice in notices))


def graph_now(session: Session, name_of_cell: NameOfCell, what: str) -> Bundle:
    """Bundle the graph behind a live tensor; `session` is its late session."""
    report = _with_cells(content.graph_report(session, None), session, name_of_cell)
    notices = _notices(session)
    tree = graph_tree(report, TEXT_WIDTH - 2, TreeOptions())
    said = page.section(f"Graph behind {what}", graph_sentence(report["graph"]), tree)
    return _bundle(html.graph(report, what=what, notices=notices), said, *(notice["text"] for notice in notices))


def _bundle(element: str, *texts: RenderableType) -> Bundle:
    return {"text/html": element, **_text(*texts)}


def _text(*texts: RenderableType) -> Bundle:
    body = Group(*(text for text in texts if text != ""))
    return {"text/plain": page.plain_text(body, TEXT_WIDTH).rstrip("\n")}


def _notices(session: Session) -> list[NoticeRow]:
    return content.show_report(session)["notices"]


def _grouped_gradients(report: ShowReport) -> GradientsReport:
    groups = grouped(report["gradients"], TEXT_ROWS)
    rows: list[GradientRow] = [
        group[0] if len(group) == 1 else merged(f"{common_prefix(group)} {numbers.TIMES}{len(group)}", group)
        for group in groups[:TEXT_ROWS]
    ]
    fields: dict[str, Any] = {**report, "kind": "parameter", "only_trouble": False, "gradients": rows}
    return cast("GradientsReport", fields)


def _with_cells(report: R, session: Session, name_of_cell: NameOfCell) -> R:
    """Call files of the report that are notebook cells by the cell's name."""
    names = {path: name for path in session.sources if (name := name_of_cell(path)) is not None}
    return cast("R", _renamed(report, names))


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(each, names) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = {key: _renamed(each, names) for key, each in cast("dict[str, Any]", value).items()}
    if fields.keys() == {"file", "line", "text"}:
        fields["file"] = _cell_name(fields["file"], names)
    place = fields.get("place")
    if place is not None and "label" in fields and "fraction" in fields:
        fields["label"] = f"{place['file']}:{place['line']}"
    return fields


def _cell_name(file: str, names: Mapping[str, str]) -> str:
    """Name a cell of this notebook as IPython does; one of another kernel by the start of its file's number."""
    for path, name in names.items():
        if path == file or path.endswith((f"/{file}", f"\\{file}")):
            return name
    unknown = _UNKNOWN_CELL.search(file)
    if unknown is None:
        return file
    return f"cell-{unknown[1]}" if unknown[1] else f"In[{unknown[2]}]"

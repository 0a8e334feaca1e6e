"""A session as one picture: what a notebook shows where nothing runs, exported, on GitHub or without a kernel.

One SVG of bounded size, without script or anything from elsewhere, every text escaped; it stands in a page or alone.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from gradwatch.reporters import html, html_gradients, numbers
from gradwatch.reporters.svg_flow import flow
from gradwatch.reporters.svg_held import held
from gradwatch.reporters.svg_marks import INK, RIGHT, TROUBLE, WIDTH, fitted, heading, label, text
from gradwatch.reporters.svg_timeline import timeline

if TYPE_CHECKING:
    from gradwatch.reporters.json import HeldSummary, NoticeRow, SessionHead, ShowReport

SHOWN_NOTICES = 3

_STYLE = (
    ".t{font-weight:600}.s{font-size:14px;font-weight:600}.n{font-size:11px}"
    ".c{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:11px}"
)


def picture(report: ShowReport, *, hint: str = "") -> str:
    """Draw what `gradwatch show` says. `hint` says what to do next."""
    page = _Page()
    page.line(label(12, page.y + 14, fitted(html.summary(report), WIDTH), 'class="s"'), 22)
    page.line(label(12, page.y + 12, fitted(_head(report["session"]), WIDTH), 'class="n"'), 24)
    drawn = timeline(report["loss"], report["gradient_norm"], page.y)
    page.line(drawn.svg, drawn.height)
    if report["gradients"] and report["step"] is not None:
        _flow(page, report, report["step"])
    if report["held"] is not None:
        _held(page, report["held"])
    _notices(page, report["notices"])
    if hint:
        page.line(label(12, page.y + 22, fitted(hint, RIGHT), 'class="n"'), 26)
    return _svg(page, html.summary(report))


def message(sentence: str, hint: str = "") -> str:
    """Draw a sentence where there is nothing to draw."""
    page = _Page()
    page.line(label(12, page.y + 14, fitted(sentence, WIDTH), 'class="s"'), 22)
    if hint:
        page.line(label(12, page.y + 12, fitted(hint, WIDTH), 'class="n"'), 16)
    return _svg(page, sentence)


class _Page:
    """What was drawn, from top to bottom."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 6.0

    def line(self, svg: str, height: float) -> None:
        self.parts.append(svg)
        self.y += height


def _svg(page: _Page, name: str) -> str:
    height = round(page.y + 10)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gradwatch-picture" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" style="max-width:100%;height:auto" role="img" aria-label="{text(name)}" '
        f'font-family="system-ui,-apple-system,Segoe UI,sans-serif" font-size="12" fill="{INK}">'
        f"<title>{text(name)}</title><style>{_STYLE}</style>{''.join(page.parts)}</svg>"
    )


def _head(head: SessionHead) -> str:
    cost = head["cost_fraction"]
    parts = [PurePath(head["path"]).name, f"detail {head['detail']}", f"torch {head['torch_version']}"]
    return " · ".join([*parts, *([f"recording cost {numbers.percent(cost)} of the time"] if cost is not None else [])])


def _flow(page: _Page, report: ShowReport, step: int) -> None:
    remark = "input left; band: p10 to p90 over steps" if len(report["steps"]) > 1 else "input left"
    page.line(heading(page.y + 24, f"Gradient norm by depth, step {step}", remark), 34)
    drawn = flow(html_gradients.by_module(report["gradients"]), step, page.y)
    page.line(drawn.svg, drawn.height)


def _held(page: _Page, summary: HeldSummary) -> None:
    for split in summary["by"]:
        if split["key"] == "line":
            remark = f"{numbers.size(summary['total_bytes'])} when backward of step {summary['step']} began"
            page.line(heading(page.y + 24, "Held for backward by line", remark), 34)
            drawn = held(split, page.y)
            page.line(drawn.svg, drawn.height)


def _notices(page: _Page, notices: list[NoticeRow]) -> None:
    if notices:
        page.line(heading(page.y + 24, "What cannot be seen"), 30)
    for notice in notices[:SHOWN_NOTICES]:
        page.line(label(12, page.y + 12, fitted(notice["text"], RIGHT), f'fill="{TROUBLE["None"]}"'), 18)
    if len(notices) > SHOWN_NOTICES:
        more = f"and {numbers.counted(len(notices) - SHOWN_NOTICES, 'more notice')}: gradwatch show"
        page.line(label(12, page.y + 12, more), 18)

"""Reports as HTML: content in, one element out, for a notebook cell or a page of its own.

Static by design: inline CSS and SVG, no script, nothing from elsewhere, every text escaped.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from gradwatch.reporters import html_findings, html_gradients, html_graph, html_held, numbers
from gradwatch.reporters.glyphs import STATES
from gradwatch.reporters.html_marks import notice_glyph, sparkline, text
from gradwatch.reporters.html_style import STYLE
from gradwatch.reporters.terminal_findings import tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradwatch.reporters.json import (
        GradientRow,
        GradientsReport,
        GraphReport,
        GraphSummary,
        HeldReport,
        NoticeRow,
        SessionHead,
        ShowReport,
        WhyReport,
    )

SHOWN_MODULES = 6
SPARK_WIDTH = 120


def show(report: ShowReport, *, hint: str = "") -> str:
    """Lay out a whole session: a sentence, gradient flow, held memory, and what cannot be seen.

    `hint` says what to do next.
    """
    parts = [_sentence(summary(report)), html_findings.findings(report["findings"]), _curves(report)]
    if report["gradients"] and report["step"] is not None:
        modules = html_gradients.by_module(report["gradients"])
        parts += [
            _heading(f"Gradient norm by depth, step {report['step']}", _band_remark(report["steps"])),
            html_gradients.chart(modules, report["step"]),
            _heading("Parameters", states(report["gradients"])),
            html_gradients.table(modules),
        ]
    if report["held"]:
        parts += [_heading("Held for backward", ""), html_held.total(report["held"])]
        for split in report["held"]["by"]:
            shown = html_held.SHOWN if split["key"] == "line" else SHOWN_MODULES
            parts += [_heading(f"Held by {split['key']}", ""), html_held.bars(split, shown)]
    return _element([*parts, _notices(report["notices"]), _foot(report["session"], hint)])


def why(report: WhyReport, *, hint: str = "") -> str:
    """Lay out findings: of one name, or of the whole session."""
    rows = report["findings"]
    about = report["name"] or "This session"
    where = f" at step {report['step']}" if report["step"] is not None else ""
    said = f"{about}{where}: {tally(rows).plain or 'nothing was found'}."
    return _element([_sentence(said), html_findings.findings(rows, is_open=True), _foot(report["session"], hint)])


def gradients(report: GradientsReport, *, hint: str = "") -> str:
    """Lay out the gradients of one step."""
    subject = {"parameter": "parameters", "module": "module outputs", "node": "autograd nodes"}[report["kind"]]
    rows = report["gradients"]
    parts = [_sentence(f"Gradients of {subject} at step {report['step']}: {states(rows) or 'there are none'}.")]
    if rows and report["kind"] == "parameter":
        modules = html_gradients.by_module(rows)
        parts += [
            _heading("Norm by depth", _band_remark(report["steps"])),
            html_gradients.chart(modules, report["step"]),
        ]
        parts += [_heading("Parameters", ""), html_gradients.table(modules)]
    elif rows:
        alone = [html_gradients.ModuleRows(row["name"], row, [row]) for row in rows]
        parts.append(html_gradients.table(alone))
    return _element([*parts, _foot(report["session"], hint)])


def held(report: HeldReport, *, when: str | None = None, notices: Sequence[NoticeRow] = (), hint: str = "") -> str:
    """Lay out what one backward call held. `when` says when, for what was not read at such a call."""
    parts = [html_held.total(report["held"], when)]
    for split in report["held"]["by"]:
        parts += [_heading(f"Held by {split['key']}", ""), html_held.bars(split, 0 if split["key"] != "node" else 40)]
    return _element([*parts, _notices(notices), _foot(report["session"] if when is None else None, hint)])


def graph(report: GraphReport, *, what: str | None = None, notices: Sequence[NoticeRow] = (), hint: str = "") -> str:
    """Lay out one graph. `what` names the tensor it belongs to, where it is that of no recorded call."""
    summary = report["graph"]
    whose = f"Graph behind {what}" if what else f"Graph of step {summary['step']}"
    parts = [_sentence(f"{whose}: {_graph_figures(summary)}."), _heading("Operations by module", "input on top")]
    parts.append(html_graph.tree(report))
    return _element([*parts, _notices(notices), _foot(None if what else report["session"], hint)])


def document(element: str, title: str) -> str:
    """Make a page of its own of a report."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        '<style>body{margin:0}</style></head><body class="gw-page">'
        f"{element}</body></html>"
    )


def summary(report: ShowReport) -> str:
    """`12 steps · loss 2.31 to 0.812 · gradients all finite · 3.13 MiB held for backward`."""
    parts = [numbers.counted(report["session"]["steps"], "step")]
    losses = [loss for loss in report["loss"]["values"] if loss is not None]
    if losses:
        first, last = numbers.scalar(losses[0]), numbers.scalar(losses[-1])
        parts.append(f"loss {first} to {last}" if len(losses) > 1 else f"loss {last}")
    if report["gradients"]:
        parts.append(f"gradients {states(report['gradients'])}")
    if report["held"]:
        parts.append(f"{numbers.size(report['held']['total_bytes'])} held for backward")
    return " · ".join(parts)


def states(rows: Sequence[GradientRow]) -> str:
    """`all 10 finite`, or the trouble first: `2 NaN, 1 None, 7 finite`."""
    found = Counter(row["state"] for row in rows)
    if rows and found["finite"] == len(rows):
        return f"all {numbers.count(len(rows))} finite"
    return ", ".join(f"{numbers.count(found[state])} {state}" for state in reversed(STATES) if found[state])


def _element(parts: Iterable[str]) -> str:
    return f'<div class="gradwatch"><style>{STYLE}</style>{"".join(parts)}</div>'


def _sentence(sentence: str) -> str:
    return f'<div class="gw-s">{text(sentence)}</div>'


def _heading(title: str, remark: str) -> str:
    said = f"<span>{text(remark)}</span>" if remark else ""
    return f'<div class="gw-h"><div role="heading" aria-level="3">{text(title)}</div>{said}</div>'


def _curves(report: ShowReport) -> str:
    drawn = [
        ("loss", sparkline(report["loss"]["values"], SPARK_WIDTH, "loss over steps", logarithmic=False)),
        ("gradient norm", sparkline(report["gradient_norm"]["values"], SPARK_WIDTH, "gradient norm over steps")),
    ]
    curves = "".join(f'<div><span class="gw-d">{name}</span>{svg}</div>' for name, svg in drawn if svg)
    return f'<div class="gw-mini">{curves}</div>' if curves else ""


def _notices(notices: Sequence[NoticeRow]) -> str:
    if not notices:
        return ""
    lines = [f"<div>{notice_glyph()}<div>{text(notice['text'])}{_often(notice)}</div></div>" for notice in notices]
    return _heading("What cannot be seen", "") + f'<div class="gw-notes">{"".join(lines)}</div>'


def _band_remark(steps: Sequence[int]) -> str:
    return "input left; band: p10 to p90 over steps" if len(steps) > 1 else "input left"


def _often(notice: NoticeRow) -> str:
    step = f"from step {notice['step']}" if notice["step"] is not None else ""
    times = f"{numbers.TIMES}{numbers.count(notice['count'])}" if notice["count"] > 1 else ""
    remark = " ".join(part for part in (step, times) if part)
    return f' <span class="gw-d">{remark}</span>' if remark else ""


def _graph_figures(summary: GraphSummary) -> str:
    nodes, edges = numbers.counted(summary["node_count"], "node"), numbers.counted(summary["edge_count"], "edge")
    return f"{nodes}, {edges}, {numbers.size(summary['saved_bytes'])} saved for backward"


def _foot(head: SessionHead | None, hint: str) -> str:
    parts: list[str] = []
    if head is not None:
        cost = head["cost_fraction"]
        parts += [PurePath(head["path"]).name, f"detail {head['detail']}", f"torch {head['torch_version']}"]
        parts += [f"recording cost {numbers.percent(cost)} of the time"] if cost is not None else []
    lines = "".join(f"<div>{text(line)}</div>" for line in (hint, " · ".join(parts)) if line)
    return f'<div class="gw-c gw-foot">{lines}</div>' if lines else ""

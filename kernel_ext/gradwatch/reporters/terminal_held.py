"""Held memory in the terminal reports: one sentence, then bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import numbers, page
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from gradwatch.reporters.json import HeldRow, HeldRows, HeldSummary

BAR_WIDTH = 20

_FIGURES_WIDTH = 24
"""Bytes, share, and the space between columns."""


def held_sentence(summary: HeldSummary) -> str:
    """`3.13 MiB when backward() began`, and the peak where it is another."""
    call = "autograd.grad()" if summary["call"] == "grad" else "backward()"
    peak = summary["peak_bytes"]
    higher = f", {numbers.size(peak)} at the peak" if peak is not None and peak > summary["total_bytes"] else ""
    unobserved = f"; {summary['unobserved']}" if summary["unobserved"] else ""
    return f"{numbers.size(summary['total_bytes'])} when {call} began{higher}{unobserved}"


def held_bars(split: HeldRows, width: int, top: int = 0, way_out: str = "") -> RenderableType:
    """Lay out one split, largest first; after `top` rows (0: all of them) the rest is one line.

    `way_out` says there how to see it.
    """
    rows = split["rows"]
    shown = rows[:top] if top else rows
    if not shown:
        return Text("nothing", "dim")
    has_text = any(row["place"] and row["place"]["text"] for row in shown)
    labels = _labels(shown)
    room = width - BAR_WIDTH - _FIGURES_WIDTH
    label_width = min(max(map(len, labels)), room // 2 if has_text else room)
    columns: list[tuple[str, JustifyMethod]] = [(f"by {split['key']}", "left"), ("", "left")]
    made = page.table(*columns[: 1 + has_text], ("", "left"), ("bytes", "right"), ("share", "right"))
    for label, row in zip(labels, shown, strict=True):
        text = page.cut((row["place"] or {}).get("text") or "", room - label_width - 2)
        bar = page.bar_cell(row["bytes"] / (shown[0]["bytes"] or 1), BAR_WIDTH)
        figures = (numbers.size(row["bytes"]), Text(numbers.percent(row["fraction"]), "dim"))
        name = Text(page.shortened(label, label_width), page.ACCENT if row["place"] else "")
        made.add_row(name, *([text] if has_text else []), bar, *figures)
    rest = rows[len(shown) :]
    left_out = (
        f"and {numbers.count(len(rest))} more by {split['key']}, {numbers.size(sum(row['bytes'] for row in rest))}"
    )
    return Group(made, Text(left_out + way_out, "dim")) if rest else made


def classes_line(summary: HeldSummary) -> Text:
    """`activation 3.00 MiB · input 30.0 KiB`, then what is saved too but would be there without autograd."""
    sizes = summary["class_bytes"]
    held = [f"{name} {numbers.size(size)}" for name, size in sizes.items() if size and name in HELD_CLASSES]
    other = [f"{name} {numbers.size(size)}" for name, size in sizes.items() if size and name not in HELD_CLASSES]
    anyway = f"; allocated anyway: {' · '.join(other)}" if other else ""
    return Text(" · ".join(held) + anyway, "dim")


def _labels(rows: list[HeldRow]) -> list[str]:
    places = page.Places([row["place"] for row in rows])
    return [places.name(row["place"]) or row["label"] or "(none)" for row in rows]

"""Compiled regions in the terminal reports: what each source line became, what is kept and what is computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import numbers, page

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gradwatch.reporters.json import RegionRow

SHOWN_LINES = 20
"""Lines of a region that are listed, those with the most ops first."""

NAMES_WIDTH = 28
"""Of the names of ops whose results are kept, or which are computed again."""

KEPT: tuple[Literal["saved"], Literal["recomputed"]] = ("saved", "recomputed")

_FIGURES_WIDTH = 36
"""Counts of ops, heads, and the space between columns."""


def region_sentence(region: RegionRow) -> str:
    """`forward [0/0] by inductor: 10 ops forward, 26 backward · 6 results kept for backward, 3 ops recomputed`."""
    name = region["name"] or f"region {region['region']}"
    backend = f" by {region['backend']}" if region["backend"] else ""
    ops = f"{numbers.counted(region['forward_ops'], 'op')} forward, {numbers.count(region['backward_ops'])} backward"
    kept = f"{numbers.counted(region['saved'], 'result')} kept for backward"
    recomputed = f", {numbers.counted(region['recomputed'], 'op')} recomputed" if region["recomputed"] else ""
    return f"{name}{backend}: {ops} · {kept}{recomputed}"


def region_listing(region: RegionRow, width: int) -> RenderableType:
    """Lay out a region, one row per source line."""
    largest = sorted(region["lines"], key=lambda line: -line["forward_ops"] - line["backward_ops"])[:SHOWN_LINES]
    lines = [line for line in region["lines"] if line in largest]
    places = page.Places([line["place"] for line in lines])
    made = page.table(
        ("  line", "left"),
        ("forward", "right"),
        ("backward", "right"),
        ("kept", "left"),
        ("recomputed", "left"),
        ("", "left"),
    )
    widths = [max((len(page.cut(", ".join(line[key]), NAMES_WIDTH)) for line in lines), default=0) for key in KEPT]
    taken = sum(widths) + max((len(places.name(line["place"])) for line in lines), default=0) + _FIGURES_WIDTH
    for line in lines:
        text = (line["place"] or {"text": None})["text"]
        made.add_row(
            Text(f"  {places.name(line['place']) if line['place'] else 'no line'}", page.ACCENT),
            numbers.count(line["forward_ops"]),
            numbers.count(line["backward_ops"]),
            *(Text(page.cut(", ".join(line[key]), NAMES_WIDTH)) for key in KEPT),
            Text(page.cut(text or "", max(8, width - taken)), "dim"),
        )
    left = len(region["lines"]) - len(lines)
    more = [Text(f"  and {numbers.counted(left, 'line')} more", "dim")] if left else []
    head = Text.assemble(("compiled ", "yellow"), region_sentence(region))
    return Group(Text(""), head, made, *more)

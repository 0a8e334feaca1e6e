"""Held memory in HTML reports: the total, what it is made of, and bars by source line and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.records import TENSOR_CLASSES
from gradwatch.reporters import numbers, page
from gradwatch.reporters.html_marks import size, text
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from gradwatch.reporters.json import HeldRow, HeldRows, HeldSummary

SHOWN = 12
_HATCHED = 5
_KEYS = {name: index for index, name in enumerate(("activation", "parameter", "buffer", "input", "optimizer state"))}


def total(summary: HeldSummary, when: str | None = None) -> str:
    """Write the total, when it was held (by default when the call began), and what it is made of."""
    call = "autograd.grad()" if summary["call"] == "grad" else "backward()"
    when = when or f"held for backward when {call} of step {summary['step']} began"
    peak = summary["peak_bytes"]
    higher = f", {numbers.size(peak)} at the peak" if peak is not None and peak > summary["total_bytes"] else ""
    unobserved = f'<div class="gw-c">{text(summary["unobserved"])}</div>' if summary["unobserved"] else ""
    return (
        f'<div><span class="gw-big">{size(summary["total_bytes"])}</span><span class="gw-d">{text(when + higher)}'
        f"</span></div>{_classes(summary)}{unobserved}"
    )


def bars(split: HeldRows, shown: int = SHOWN) -> str:
    """Lay out one split, largest first, with the source line's text; what is not `shown` is one line."""
    rows = split["rows"][:shown] if shown else split["rows"]
    if not rows:
        return '<div class="gw-d">nothing is held</div>'
    places = page.Places([row["place"] for row in rows])
    largest = rows[0]["bytes"] or 1
    body = "".join(_bar(row, places, row["bytes"] / largest) for row in rows)
    key = text(split["key"])
    return f'<div class="gw-held" role="table" aria-label="held by {key}">{body}</div>{_rest(split, len(rows))}'


def _classes(summary: HeldSummary) -> str:
    sizes = [(name, summary["class_bytes"].get(name, 0)) for name in TENSOR_CLASSES]
    seen = [(name, count) for name, count in sizes if count]
    if not seen:
        return ""
    parts = "".join(f'<div class="{_key(name)}" style="flex:{count} 1 0"></div>' for name, count in seen)
    legend = "".join(
        f'<span><i class="{_key(name)}"></i>{text(name)} {size(count)}'
        f"{'' if name in HELD_CLASSES else ', allocated anyway'}</span>"
        for name, count in seen
    )
    said = ", ".join(f"{name} {numbers.size(count)}" for name, count in seen)
    return (
        f'<div class="gw-share" role="img" aria-label="{text(said)}">{parts}</div>'
        f'<div class="gw-key gw-c">{legend}</div>'
    )


def _key(name: str) -> str:
    return f"gw-k{_KEYS.get(name, _HATCHED)}"


def _bar(row: HeldRow, places: page.Places, fraction: float) -> str:
    place = row["place"]
    bar = f'<div class="gw-bar" style="width:{fraction:.2%}"></div>'
    figures = (
        f'<div class="gw-r" role="cell">{size(row["bytes"])}</div>'
        f'<div class="gw-r gw-d gw-p1" role="cell">{text(numbers.percent(row["fraction"]))}</div>'
    )
    if place is None:
        name = f'<div class="gw-x gw-wide" role="rowheader">{text(row["label"] or "(none)")}{bar}</div>'
        return f'<div class="gw-row" role="row">{name}{figures}</div>'
    where = f'<div class="gw-m gw-a" role="rowheader" title="{text(row["label"])}">{text(places.name(place))}</div>'
    quote = text(place["text"] or "")
    source = f'<div class="gw-x" role="cell"><code title="{quote}">{quote}</code>{bar}</div>'
    return f'<div class="gw-row" role="row">{where}{source}{figures}</div>'


def _rest(split: HeldRows, shown: int) -> str:
    rest = split["rows"][shown:]
    if not rest:
        return ""
    held = numbers.size(sum(row["bytes"] for row in rest))
    return f'<div class="gw-c">and {numbers.count(len(rest))} more by {text(split["key"])}, {held}</div>'

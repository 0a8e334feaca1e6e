"""Bytes held for backward by source line, in the SVG picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.reporters import numbers, page
from gradwatch.reporters.svg_marks import ACCENT, RIGHT, fitted, label
from gradwatch.reporters.svg_timeline import Drawn

if TYPE_CHECKING:
    from gradwatch.reporters.json import HeldRow, HeldRows

SHOWN = 8
ROW = 20
_PLACE = 170
_SOURCE_AT = 12 + _PLACE + 12


def held(split: HeldRows, top: float) -> Drawn:
    """Draw the largest rows with a bar each, from zero; the rest is one line."""
    rows = split["rows"][:SHOWN]
    places = page.Places([row["place"] for row in rows])
    largest = rows[0]["bytes"] or 1 if rows else 1
    drawn = [_row(row, places, top + index * ROW, row["bytes"] / largest) for index, row in enumerate(rows)]
    rest = split["rows"][SHOWN:]
    if rest:
        size = numbers.size(sum(row["bytes"] for row in rest))
        more = f"and {numbers.counted(len(rest), 'more line')}, {size}"
        drawn.append(label(12, top + len(rows) * ROW + 12, more))
    return Drawn("".join(drawn), (len(rows) + bool(rest)) * ROW)


def _row(row: HeldRow, places: page.Places, top: float, share: float) -> str:
    place = row["place"]
    name = page.shortened(places.name(place) if place else row["label"] or "(none)", int(_PLACE / 6.6))
    width = max((RIGHT - 150 - _SOURCE_AT) * share, 3)
    source = label(
        _SOURCE_AT, top + 11, fitted((place["text"] or "") if place else "", RIGHT - 150 - _SOURCE_AT), _CODE
    )
    return (
        label(12, top + 11, name, _CODE)
        + source
        + f'<rect x="{_SOURCE_AT}" y="{top + 15:.1f}" width="{width:.1f}" height="2.5" fill="{ACCENT}"/>'
        + label(RIGHT - 56, top + 11, numbers.size(row["bytes"]), 'text-anchor="end"')
        + label(RIGHT, top + 11, numbers.percent(row["fraction"]), 'text-anchor="end"')
    )


_CODE = 'class="c"'

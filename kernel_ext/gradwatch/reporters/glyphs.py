"""The shapes of text reports: states, sparklines, bars, and their spelling where only ASCII is to be had.

Reports are laid out in Unicode; every character of ours has one ASCII character to stand for it, so
columns stay aligned in the plain spelling.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

State = Literal["finite", "zero", "None", "NaN", "Inf"]
"""What a gradient is; the worst of its parts where it stands for several."""

STATES: tuple[State, ...] = ("finite", "zero", "None", "Inf", "NaN")
"""From quiet to worst."""

GLYPHS: dict[State, str] = {"finite": "·", "zero": "○", "None": "⊘", "NaN": "◆", "Inf": "⋈"}
NOTICE = "▲"
POINTER = "›"  # noqa: RUF001 -- the sign is meant
ELLIPSIS = "…"

_LEVELS = "▁▂▃▄▅▆▇█"
_GAP = "╌"
_EIGHTHS = "▏▎▍▌▋▊▉█"
_ASCII = str.maketrans(
    {
        **dict(zip(_LEVELS, "_.,-=+*#", strict=True)),
        **dict(zip(_EIGHTHS, "|||#####", strict=True)),
        _GAP: " ",
        "·": ".",
        "○": "o",
        "⊘": "/",
        "◆": "*",
        "⋈": "x",
        "▲": "!",
        "›": ">",  # noqa: RUF001 -- the sign is meant
        "…": "~",
        "−": "-",  # noqa: RUF001 -- the sign is meant
        "—": "-",
        "–": "-",  # noqa: RUF001 -- the sign is meant
        "×": "x",  # noqa: RUF001 -- the sign is meant
        "µ": "u",
        "├": "|",
        "└": "`",
        "─": "-",
        "│": "|",
    }
)


def worst(states: Iterable[State]) -> State:
    found = set(states)
    return next(state for state in reversed(STATES) if state in found)


def to_ascii(text: str) -> str:
    """Write the plain spelling, character for character."""
    return text.translate(_ASCII)


def can_encode(encoding: str) -> bool:
    """Whether a stream of this encoding takes all of our characters."""
    try:
        (_LEVELS + _EIGHTHS + "".join(GLYPHS.values()) + NOTICE + POINTER).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(values: Sequence[float | None], width: int, *, logarithmic: bool = False) -> str:
    """Draw the curve of `values` in `width` characters, lowest to highest of the values themselves.

    Of several values to a character the last finite one is drawn, except that one which is not finite
    is drawn as its glyph: it never gets lost. A missing value leaves a gap.
    """
    cells = [_cell(part) for part in _split(values, width)]
    places = [cell if isinstance(cell, str) else _place(cell, logarithmic=logarithmic) for cell in cells]
    finite = [place for place in places if isinstance(place, float) and math.isfinite(place)]
    lowest, highest = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(place if isinstance(place, str) else _level(place, lowest, highest) for place in places)


def bar(fraction: float, width: int) -> str:
    """Draw a bar of eighths; anything above zero shows."""
    eighths = min(8 * width, max(1 if fraction > 0 else 0, round(fraction * width * 8)))
    return _EIGHTHS[-1] * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _split(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    if len(values) <= width:
        return [[value] for value in values]
    edges = [round(index * len(values) / width) for index in range(width + 1)]
    return [values[start:end] for start, end in pairwise(edges)]


def _cell(part: Sequence[float | None]) -> float | str:
    seen = [float(value) for value in part if value is not None]
    if any(math.isnan(value) for value in seen):
        return GLYPHS["NaN"]
    if any(math.isinf(value) for value in seen):
        return GLYPHS["Inf"]
    return seen[-1] if seen else _GAP


def _place(value: float, *, logarithmic: bool) -> float:
    if not logarithmic:
        return value
    return math.log(value) if value > 0 else -math.inf


def _level(place: float, lowest: float, highest: float) -> str:
    if place < lowest:
        return _LEVELS[0]
    if lowest == highest:
        return _LEVELS[3]
    return _LEVELS[round((place - lowest) / (highest - lowest) * (len(_LEVELS) - 1))]

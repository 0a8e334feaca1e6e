"""The small parts of the SVG picture: escaped text, colours that read on white and on dark, glyphs."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from gradwatch.reporters.html_marks import GLYPHS
from gradwatch.reporters.page import cut

if TYPE_CHECKING:
    from gradwatch.reporters.glyphs import State

WIDTH = 760
LEFT = 64
"""Where the plots begin; axis labels stand left of it."""

RIGHT = WIDTH - 12

# A picture does not know what it lies on, so each colour stands between white and a dark theme's ground.
INK = "#7b7b7b"
ACCENT = "#3585d1"
TROUBLE: dict[State, str] = {"NaN": "#e0474c", "Inf": "#e0474c", "None": "#9c7a14", "zero": INK, "finite": ACCENT}

_CHARACTER_PX = 6.4
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(value: object) -> str:
    """Escape for SVG, in content and in attributes; what XML cannot hold is a replacement character."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def label(x: float, y: float, value: str, attributes: str = "") -> str:
    """Write a line of text with its baseline at `y`. `attributes` are ours, and not escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " if attributes else ""}{attributes}>{text(value)}</text>'


def fitted(value: str, width: float) -> str:
    """Cut a text off that would be wider than about `width` pixels."""
    return cut(value, max(4, int(width / _CHARACTER_PX)))


def heading(y: float, title: str, remark: str = "") -> str:
    drawn = label(12, y, title, 'class="t"')
    return drawn + (label(RIGHT, y, remark, 'text-anchor="end"') if remark else "")


def state_mark(state: State, x: float, y: float) -> str:
    """Draw a state's glyph around a point."""
    return f'<g transform="translate({x - 5:.1f} {y - 5:.1f})" color="{TROUBLE[state]}">{GLYPHS[state]}</g>'

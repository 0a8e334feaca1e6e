"""The small parts of HTML reports: escaped text, numbers, glyphs and curves as inline SVG."""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from gradwatch.reporters import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.records import Severity
    from gradwatch.reporters.glyphs import State
    from gradwatch.reporters.json import GradientRow

SPARK_HEIGHT = 16
SPARK_POINTS = 60

GLYPHS: dict[State, str] = {
    "finite": '<circle cx="5" cy="5" r="1.8" fill="currentColor"/>',
    "zero": '<circle cx="5" cy="5" r="3.4" fill="none" stroke="currentColor" stroke-width="1.3"/>',
    "None": '<path d="M5 1.2a3.8 3.8 0 1 0 0 7.6a3.8 3.8 0 0 0 0-7.6M2.4 7.6 7.6 2.4" fill="none" '
    'stroke="currentColor" stroke-width="1.3"/>',
    "NaN": '<path d="M5 .4 9.6 5 5 9.6.4 5z" fill="currentColor"/>',
    "Inf": '<path d="M.6 1.4v7.2l8.8-7.2v7.2z" fill="currentColor"/>',
}
_NOTICE = '<path d="M5 .8 9.6 9H.4z" fill="none" stroke="currentColor" stroke-width="1.3" stroke-linejoin="round"/>'


def text(value: object) -> str:
    """Escape for HTML, in content and in attributes."""
    return escape(str(value), quote=True)


def gradient(value: float | None) -> str:
    """Write a gradient's number, its exponent dim, with full precision as tooltip."""
    mantissa, mark, exponent = numbers.gradient(value).partition("e")
    written = f'{text(mantissa)}<span class="gw-e">{mark}{text(exponent)}</span>' if mark else text(mantissa)
    return written if value is None else f'<span title="{value!r}">{written}</span>'


def size(count: int) -> str:
    return f'<span title="{count:,} bytes">{text(numbers.size(count))}</span>'


def glyph(state: State) -> str:
    return _icon(GLYPHS[state], f"gw-{state}", None if state == "finite" else state)


def notice_glyph() -> str:
    return _icon(_NOTICE, "gw-warn", None)


def finding_glyph(severity: Severity) -> str:
    """The glyph of a finding: a diamond for errors, a triangle for warnings, a dot for notes."""
    path, colour = {
        "error": (GLYPHS["NaN"], "gw-NaN"),
        "warning": (_NOTICE, "gw-warn"),
        "note": (GLYPHS["finite"], "gw-finite"),
    }[severity]
    return _icon(path, colour, severity)


def indent(levels: int) -> str:
    """Attribute of a row that stands `levels` modules deep."""
    return f' style="--gw-i:{levels}"' if levels else ""


def state_word(row: GradientRow) -> str:
    """`NaN in 12`, or nothing for what is finite."""
    state = row["state"]
    bad = {"NaN": row["nan"], "Inf": row["inf"]}.get(state)
    some = f" in {numbers.count(bad)}" if bad and bad != row["count"] else ""
    return "" if state == "finite" else state + some


def sparkline(values: Sequence[float | None], width: int, what: str, *, logarithmic: bool = True) -> str:
    """Draw a curve over steps; one that is not finite is a diamond on top, a missing one leaves a gap.

    `what` is its accessible name.
    """
    thin = _thinned(values, SPARK_POINTS)
    places = [_place(value, logarithmic=logarithmic) for value in thin]
    finite = [place for place in places if place is not None and math.isfinite(place)]
    if len(thin) < 2 or not any(value is not None for value in thin):
        return ""
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    xs = [2 + index * (width - 5) / (len(thin) - 1) for index in range(len(thin))]
    points = [
        (x, _height(place, low, high)) if place is not None and not _is_bad(value) else None
        for x, place, value in zip(xs, places, thin, strict=True)
    ]
    bad = [x for x, value in zip(xs, thin, strict=True) if _is_bad(value)]
    return (
        f'<svg width="{width}" height="{SPARK_HEIGHT}" role="img" aria-label="{text(what)}"><title>{text(what)}</title>'
        f'<path class="gw-spark" d="{_path(points)}"/>{_end_dot(points)}{_diamonds(bad)}</svg>'
    )


def _icon(path: str, class_: str, name: str | None) -> str:
    named = f'role="img" aria-label="{name}"' if name else 'aria-hidden="true"'
    return f'<svg class="gw-g {class_}" viewBox="0 0 10 10" width="10" height="10" {named}>{path}</svg>'


def _thinned(values: Sequence[float | None], points: int) -> list[float | None]:
    """Keep of each stretch its last value, or one that is not finite."""
    if len(values) <= points:
        return list(values)
    edges = [round(index * len(values) / points) for index in range(points + 1)]
    parts = [values[start:end] for start, end in pairwise(edges)]
    return [next((value for value in part if _is_bad(value)), part[-1]) for part in parts]


def _is_bad(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _place(value: float | None, *, logarithmic: bool) -> float | None:
    if value is None or not logarithmic or not math.isfinite(value):
        return value
    return math.log10(value) if value > 0 else -math.inf


def _height(place: float, low: float, high: float) -> float:
    """Put zero (minus infinity) on the floor and a constant in the middle."""
    if place == -math.inf:
        return SPARK_HEIGHT - 1.0
    return SPARK_HEIGHT / 2 if high == low else SPARK_HEIGHT - 3 - (place - low) / (high - low) * (SPARK_HEIGHT - 6)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    commands: list[str] = []
    pen_down = False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(commands)


def _end_dot(points: Sequence[tuple[float, float] | None]) -> str:
    last = points[-1]
    return "" if last is None else f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="1.8" fill="var(--gw-accent)"/>'


def _diamonds(xs: Sequence[float]) -> str:
    shapes = "".join(f"M{x:.1f} 0l3 3-3 3-3-3z" for x in xs)
    return f'<path class="gw-NaN" fill="currentColor" d="{shapes}"/>' if shapes else ""

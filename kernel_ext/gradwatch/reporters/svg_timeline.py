"""Loss and gradient norm over steps, in the SVG picture."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from gradwatch.reporters import numbers
from gradwatch.reporters.svg_marks import ACCENT, INK, LEFT, RIGHT, label, state_mark, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.reporters.json import Series

LANE = 44
LANE_GAP = 16
MOST_POINTS = 240
MOST_MARKS = 40


class Drawn(NamedTuple):
    """SVG and the height that it takes."""

    svg: str
    height: float


def timeline(loss: Series, norm: Series, top: float) -> Drawn:
    """Draw a lane for each series that has a value. The lowest and the highest value stand at its left."""
    lanes = [("loss", loss, False), ("gradient norm", norm, True)]
    drawn: list[str] = []
    y = top
    for name, series, logarithmic in lanes:
        if any(value is not None for value in series["values"]):
            drawn.append(_lane(name, series, y + 12, logarithmic=logarithmic))
            y += LANE + LANE_GAP
    if drawn:
        drawn.append(_steps(loss if loss["steps"] else norm, y + 10))
        y += 14
    return Drawn("".join(drawn), y - top)


def _lane(name: str, series: Series, top: float, *, logarithmic: bool) -> str:
    thin = _thinned(series["values"])
    seen = [value for _, value in thin if value is not None and math.isfinite(value) and (value > 0 or not logarithmic)]
    low, high = (min(seen), max(seen)) if seen else (0.0, 0.0)
    scale = _Scale(top, low, high, logarithmic)
    last = max(len(series["values"]) - 1, 1)
    points = [(LEFT + (RIGHT - LEFT) * index / last, value) for index, value in thin]
    write = numbers.gradient if logarithmic else numbers.scalar
    bad = [(x, value) for x, value in points if value is not None and not math.isfinite(value)][:MOST_MARKS]
    marks = "".join(state_mark("NaN" if math.isnan(value) else "Inf", x, top + 5) for x, value in bad)
    ends = label(LEFT - 6, top + 10, write(high), 'text-anchor="end" class="n"') if seen else ""
    ends += label(LEFT - 6, top + LANE, write(low), 'text-anchor="end" class="n"') if seen and low != high else ""
    what = f"{name} over {numbers.counted(len(series['steps']), 'step')}"
    return (
        f'<g role="img" aria-label="{text(what)}"><title>{text(what)}</title>'
        f'<path d="M{LEFT} {top + LANE:.1f}H{RIGHT}" stroke="{INK}" stroke-opacity=".35"/>'
        f"{_curve(points, scale)}{marks}</g>{ends}{label(LEFT, top - 3, name)}"
    )


_END = 'text-anchor="end"'


class _Scale(NamedTuple):
    top: float
    low: float
    high: float
    logarithmic: bool

    def y(self, value: float) -> float:
        """Put a constant in the middle, and what has no logarithm on the floor."""
        if self.logarithmic and value <= 0:
            return self.top + LANE
        if self.high == self.low:
            return self.top + LANE / 2
        place = math.log10(value) if self.logarithmic else value
        low = math.log10(self.low) if self.logarithmic else self.low
        high = math.log10(self.high) if self.logarithmic else self.high
        return self.top + LANE - 2 - (place - low) / (high - low) * (LANE - 6)


def _curve(points: Sequence[tuple[float, float | None]], scale: _Scale) -> str:
    """Draw a line with gaps where nothing finite was recorded; a value that stands alone is a dot."""
    finite = [(x, value) if value is not None and math.isfinite(value) else None for x, value in points]
    commands: list[str] = []
    dots: list[str] = []
    for index, point in enumerate(finite):
        if point is None:
            continue
        joins = index > 0 and finite[index - 1] is not None
        x, y = point[0], scale.y(point[1])
        commands.append(f"{'L' if joins else 'M'}{x:.1f} {y:.1f}")
        if not joins and (index + 1 == len(finite) or finite[index + 1] is None):
            dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{ACCENT}"/>')
    return f'<path d="{"".join(commands)}" fill="none" stroke="{ACCENT}" stroke-width="1.5"/>{"".join(dots)}'


def _steps(series: Series, y: float) -> str:
    first, last = series["steps"][0], series["steps"][-1]
    drawn = label(LEFT, y, f"step {first}")
    return drawn + (label(RIGHT, y, f"step {last}", _END) if last != first else "")


def _thinned(values: Sequence[float | None]) -> list[tuple[int, float | None]]:
    """Keep of each stretch what is not finite, else its lowest and highest value, so that no spike is lost."""
    if len(values) <= MOST_POINTS:
        return list(enumerate(values))
    edges = [round(index * len(values) / (MOST_POINTS // 2)) for index in range(MOST_POINTS // 2 + 1)]
    return [kept for start, end in pairwise(edges) for kept in _kept(values, start, end)]


def _kept(values: Sequence[float | None], start: int, end: int) -> list[tuple[int, float | None]]:
    seen = [(index, value) for index in range(start, end) if (value := values[index]) is not None]
    if not seen:
        return [(start, None)]
    bad = [pair for pair in seen if not math.isfinite(pair[1])]
    if bad:
        return [bad[0]]
    return list(dict.fromkeys(sorted((min(seen, key=_value), max(seen, key=_value)))))


def _value(pair: tuple[int, float]) -> float:
    return pair[1]

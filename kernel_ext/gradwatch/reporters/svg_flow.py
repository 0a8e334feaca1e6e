"""The norm of every module by depth, in the SVG picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gradwatch.reporters import numbers
from gradwatch.reporters.html_gradients import BAND_STEPS, ModuleRows
from gradwatch.reporters.page import shortened
from gradwatch.reporters.svg_marks import ACCENT, INK, LEFT, RIGHT, label, state_mark, text
from gradwatch.reporters.svg_timeline import Drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

PLOT = 116
RAIL = 16
FEWEST_DECADES = 4
MOST_MODULES = 64
MOST_TICKS = 12
LABEL_WIDTH = 14


def flow(modules: Sequence[ModuleRows], step: int, top: float) -> Drawn:
    """Draw modules from the input, left, to the loss; of more than MOST_MODULES the first and the last."""
    shown = list(modules)
    if len(shown) > MOST_MODULES:
        shown = [*shown[: MOST_MODULES // 2], *shown[-MOST_MODULES // 2 :]]
    plot = _Plot.of(shown, top)
    marks = "".join(_module(module, plot.x(index), plot) for index, module in enumerate(shown))
    what = f"Gradient norm of {numbers.counted(len(shown), 'module')} by depth at step {step}"
    svg = (
        f'<g role="img" aria-label="{text(what)}"><title>{text(what)}</title>{_axis(plot)}{_band(shown, plot)}'
        f"{_line(shown, plot)}{marks}</g>{_names(shown, plot)}"
    )
    return Drawn(svg, plot.bottom - top + 16)


class _Plot(NamedTuple):
    """Whole decades over the height of the plot, with rails above and below for what has no norm."""

    columns: int
    top: float
    bottom: float
    start: float
    low: int
    high: int

    @classmethod
    def of(cls, modules: Sequence[ModuleRows], top: float) -> _Plot:
        norms = [row["norm"] for module in modules for row in (module.whole, *module.rows)]
        exponents = [math.log10(norm) for norm in norms if norm and math.isfinite(norm)]
        low, high = math.floor(min(exponents, default=-4)), math.ceil(max(exponents, default=0))
        states = {module.whole["state"] for module in modules}
        start = top + (RAIL if states & {"NaN", "Inf"} else 0)
        bottom = start + PLOT + (RAIL if states & {"None", "zero"} else 0)
        return cls(len(modules), top, bottom, start, min(low, high - FEWEST_DECADES), high)

    def x(self, index: int) -> float:
        return LEFT + (RIGHT - LEFT) * (index + 0.5) / self.columns

    def y(self, norm: float) -> float:
        exponent = min(max(math.log10(norm), self.low), self.high)
        return self.start + 4 + (self.high - exponent) / (self.high - self.low) * (PLOT - 8)


def _axis(plot: _Plot) -> str:
    stride = max(1, math.ceil((plot.high - plot.low) / 5))
    drawn = ""
    for decade in range(plot.high, plot.low - 1, -stride):
        y = plot.y(10.0**decade)
        drawn += f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{INK}" stroke-opacity=".25"/>'
        drawn += label(LEFT - 6, y + 3, f"1e{decade}".replace("-", numbers.MINUS), 'text-anchor="end" class="n"')
    return drawn


def _norm(module: ModuleRows) -> float | None:
    norm = module.whole["norm"]
    return norm if module.whole["state"] == "finite" and norm else None


def _line(modules: Sequence[ModuleRows], plot: _Plot) -> str:
    path = ""
    for index, module in enumerate(modules):
        norm = _norm(module)
        if norm is not None:
            joins = index > 0 and _norm(modules[index - 1]) is not None
            path += f"{'L' if joins else 'M'}{plot.x(index):.1f} {plot.y(norm):.1f}"
    return f'<path d="{path}" fill="none" stroke="{ACCENT}" stroke-width="1.5"/>' if path else ""


def _band(modules: Sequence[ModuleRows], plot: _Plot) -> str:
    """Shade the 10th to the 90th percentile of the last steps, one stretch for each neighbour pair that has both."""
    spans = [_span(module) for module in modules]
    drawn = ""
    for index in range(len(spans) - 1):
        here, there = spans[index], spans[index + 1]
        if here and there:
            a, b = plot.x(index), plot.x(index + 1)
            corners = ((a, here[0]), (b, there[0]), (b, there[1]), (a, here[1]))
            points = " ".join(f"{x:.1f},{plot.y(norm):.1f}" for x, norm in corners)
            drawn += f'<polygon points="{points}"/>'
    return f'<g fill="{ACCENT}" fill-opacity=".22">{drawn}</g>' if drawn else ""


def _span(module: ModuleRows) -> tuple[float, float] | None:
    seen = sorted(norm for norm in module.whole["norms"][-BAND_STEPS:] if norm and math.isfinite(norm))
    if len(seen) < 2:
        return None
    return seen[round(0.1 * (len(seen) - 1))], seen[round(0.9 * (len(seen) - 1))]


def _module(module: ModuleRows, x: float, plot: _Plot) -> str:
    row = module.whole
    said = f"{module.name}: {numbers.gradient(row['norm'])} {'' if row['state'] == 'finite' else row['state']}".strip()
    return f"<g><title>{text(shortened(said, 120))}</title>{_ticks(module, x, plot)}{_mark(module, x, plot)}</g>"


def _mark(module: ModuleRows, x: float, plot: _Plot) -> str:
    state = module.whole["state"]
    norm = _norm(module)
    if state == "finite":
        return "" if norm is None else f'<circle cx="{x:.1f}" cy="{plot.y(norm):.1f}" r="3.5" fill="{ACCENT}"/>'
    return state_mark(state, x, plot.top + RAIL / 2 if state in ("NaN", "Inf") else plot.bottom - RAIL / 2)


def _ticks(module: ModuleRows, x: float, plot: _Plot) -> str:
    """Mark the module's parameters; where they are many the smallest, the largest and some between."""
    if len(module.rows) < 2:
        return ""
    heights = sorted({round(plot.y(norm), 1) for row in module.rows if (norm := row["norm"]) and math.isfinite(norm)})
    stride = max(1, math.ceil(len(heights) / MOST_TICKS))
    kept = [*heights[::stride], *heights[-1:]]
    path = "".join(f"M{x - 5:.1f} {y:.1f}h10" for y in kept)
    return f'<path d="{path}" stroke="{INK}"/>' if path else ""


def _names(modules: Sequence[ModuleRows], plot: _Plot) -> str:
    """Name from left to right those modules whose name touches no other."""
    taken, drawn = 0.0, ""
    for index, module in enumerate(modules):
        name = shortened(module.name, LABEL_WIDTH)
        x, half = plot.x(index), len(name) * 3.0
        if x - half >= taken and x + half <= RIGHT + 12:
            drawn += label(x, plot.bottom + 12, name, 'text-anchor="middle" class="n"')
            taken = x + half + 8
    return drawn

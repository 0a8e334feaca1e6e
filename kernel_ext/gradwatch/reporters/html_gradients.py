"""Gradients in HTML reports: the norm of every module by depth, and a table of parameters that opens by module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

from gradwatch.reporters import numbers, page
from gradwatch.reporters.glyphs import worst
from gradwatch.reporters.gradient_rows import merged
from gradwatch.reporters.html_marks import GLYPHS, glyph, gradient, indent, sparkline, state_word, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.reporters.glyphs import State
    from gradwatch.reporters.json import GradientRow

GROUPS = 32
"""Modules up to which the deepest ones are told apart; more are put together by the module around them."""

ROWS_OPEN = 16
"""Rows up to which every module stands open."""

TROUBLED_OPEN = 3

MOST_ROWS = 400
"""Rows above which those that are finite stand for themselves no longer: only their module is drawn."""

BAND_STEPS = 100
ROOT = "(model)"
PLOT_HEIGHT = 120
RAIL_HEIGHT = 16
FEWEST_DECADES = 4
LABEL_WIDTH = 12
LABELS = 16
_WIDTHS = (300, 480, 800)
_CHARACTER_PX = 6


@dataclass(frozen=True)
class ModuleRows:
    """A module, its gradients in one row, and the gradients themselves."""

    name: str
    whole: GradientRow
    rows: list[GradientRow]


def by_module(rows: Sequence[GradientRow], limit: int = GROUPS) -> list[ModuleRows]:
    """Put neighbours of one module together; if that leaves more than `limit`, by outer modules."""
    paths = [row["name"].split(".")[:-1] for row in rows]
    groups: list[list[int]] = []
    for depth in range(max((len(path) for path in paths), default=0), 0, -1):
        groups = [list(group) for _, group in groupby(range(len(rows)), lambda i: paths[i][:depth])]  # noqa: B023 # used at once
        if len(groups) <= limit:
            break
    groups = groups or [[index] for index in range(len(rows))]
    return [_module([rows[index] for index in group], paths[group[0]]) for group in groups]


def table(modules: Sequence[ModuleRows]) -> str:
    """Lay out modules that open to their parameters; one with a single row is that row."""
    layout = _Layout(modules)
    head = (
        '<div class="gw-row gw-grad gw-head"><div>name</div><div class="gw-r gw-p1">shape</div><div class="gw-r">norm'
        '</div><div class="gw-p1">over steps</div><div class="gw-r gw-p2">update</div><div></div></div>'
    )
    return head + "".join(layout.module(module) for module in modules)


def chart(modules: Sequence[ModuleRows], step: int) -> str:
    """Draw each module's norm by depth, input left, on a logarithmic axis; what has no norm is on a rail."""
    scale = _Scale.of([row["norm"] for module in modules for row in (module.whole, *module.rows)])
    above = [module.whole["state"] in ("NaN", "Inf") for module in modules]
    below = [module.whole["state"] in ("zero", "None") for module in modules]
    top = RAIL_HEIGHT if any(above) else 0
    height = top + PLOT_HEIGHT + (RAIL_HEIGHT if any(below) else 0)
    name = _chart_name(modules, step)
    rails = (_rail_label(modules, above, RAIL_HEIGHT / 2), _rail_label(modules, below, height - RAIL_HEIGHT / 2))
    axis = f'<svg width="40" height="{height}" aria-hidden="true">{"".join(rails)}{scale.labels(top)}</svg>'
    marks = [
        _marks(module, _Spot((index + 0.5) / len(modules), top, height), scale) for index, module in enumerate(modules)
    ]
    plot = (
        f'<svg width="100%" height="{height}" role="img" aria-label="{text(name)}"><title>{text(name)}</title>'
        f"{scale.lines(top)}{_curves(modules, scale, top)}{''.join(marks)}</svg>"
    )
    return f'<div class="gw-chart">{axis}{plot}{_x_labels(modules)}</div>'


def _module(rows: list[GradientRow], path: list[str]) -> ModuleRows:
    shared = path
    for row in rows:
        own = row["name"].split(".")[:-1]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(shared, own, strict=False))
        shared = [part for part, _ in same]
    name = ".".join(shared) or ROOT
    return ModuleRows(name, merged(name, rows), rows)


class _Layout:
    """What of a table stands open: all of a small one, else the modules in trouble if they are few."""

    def __init__(self, modules: Sequence[ModuleRows]) -> None:
        self._count = sum(len(module.rows) for module in modules)
        troubled = [module for module in modules if module.whole["state"] != "finite"]
        few = len(troubled) <= TROUBLED_OPEN
        self._open = {id(module) for module in (modules if self._count <= ROWS_OPEN else troubled if few else ())}

    def module(self, module: ModuleRows) -> str:
        rows = module.rows
        if len(rows) == 1:
            return _row(rows[0], rows[0]["name"])
        if self._count > MOST_ROWS:
            rows = [row for row in rows if row["state"] != "finite"][:ROWS_OPEN]
        prefix = "" if module.name == ROOT else f"{module.name}."
        inner = "".join(_row(row, row["name"].removeprefix(prefix), level=1) for row in rows)
        whole = _row(module.whole, module.name, numbers.counted(len(module.rows), "tensor"), is_summary=bool(inner))
        return f"<details{' open' if id(module) in self._open else ''}>{whole}{inner}</details>" if inner else whole


def _norm(row: GradientRow) -> str:
    """Write the norm; where not all of it is finite that, since the recorded norm is over finite elements."""
    if row["state"] not in ("NaN", "Inf"):
        return gradient(row["norm"])
    finite = f"{numbers.gradient(row['norm'])} over finite elements"
    return f'<span class="gw-{row["state"]}" title="{text(finite)}">{row["state"]}</span>'


def _row(row: GradientRow, name: str, remark: str = "", *, level: int = 0, is_summary: bool = False) -> str:
    shape = numbers.shape(row["shape"]) if row["shape"] is not None else remark
    curve = sparkline(row["norms"], 84, f"norm of {row['name']} over {len(row['norms'])} steps")
    state = f'{glyph(row["state"])}<span class="gw-word">{text(state_word(row))}</span>'
    tag = "summary" if is_summary else "div"
    named = f'<span class="gw-x" title="{text(row["name"])}">{text(name)}</span>'
    return (
        f'<{tag} class="gw-row gw-grad"{indent(level)}><div class="gw-n">{named}</div>'
        f'<div class="gw-r gw-x gw-p1 gw-d">{text(shape)}</div><div class="gw-r">{_norm(row)}</div>'
        f'<div class="gw-p1">{curve}</div><div class="gw-r gw-p2">{_update(row["update_ratio"])}</div>'
        f'<div class="gw-state gw-{row["state"]}">{state}</div></{tag}>'
    )


def _update(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return gradient(ratio) if math.isfinite(ratio) else f'<span class="gw-NaN">{gradient(ratio)}</span>'


@dataclass(frozen=True)
class _Scale:
    """Whole decades, from `low` to `high`, over the height of the plot."""

    low: int
    high: int

    @classmethod
    def of(cls, norms: Sequence[float | None]) -> _Scale:
        exponents = [math.log10(norm) for norm in norms if norm is not None and math.isfinite(norm) and norm > 0]
        low, high = math.floor(min(exponents, default=-4)), math.ceil(max(exponents, default=0))
        return cls(min(low, high - FEWEST_DECADES), high)

    def y(self, norm: float, top: float) -> float:
        exponent = min(max(math.log10(norm), self.low), self.high)
        return top + 4 + (self.high - exponent) / (self.high - self.low) * (PLOT_HEIGHT - 8)

    @property
    def decades(self) -> list[int]:
        stride = max(1, math.ceil((self.high - self.low) / 5))
        return list(range(self.high, self.low - 1, -stride))

    def labels(self, top: float) -> str:
        return "".join(
            f'<text x="34" y="{self.y(10.0**decade, top) + 3:.1f}" text-anchor="end">'
            f"1e{str(decade).replace('-', numbers.MINUS)}</text>"
            for decade in self.decades
        )

    def lines(self, top: float) -> str:
        heights = [self.y(10.0**decade, top) for decade in self.decades]
        return "".join(f'<line class="gw-dec" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>' for y in heights)


@dataclass(frozen=True)
class _Spot:
    """Where a module stands: `x` as a fraction of the width, the top of the plot and the bottom of it all in px."""

    x: float
    top: float
    height: float


def _marks(module: ModuleRows, spot: _Spot, scale: _Scale) -> str:
    norms = [row["norm"] for row in module.rows if row["state"] in ("finite", "NaN", "Inf") and len(module.rows) > 1]
    heights = [scale.y(norm, spot.top) for norm in norms if norm and math.isfinite(norm)]
    ticks = "".join(f'<line class="gw-tick" x1="-5" x2="5" y1="{y:.1f}" y2="{y:.1f}"/>' for y in sorted(set(heights)))
    said = f"{module.name}: {numbers.gradient(module.whole['norm'])} {state_word(module.whole)}".strip()
    return f'<svg x="{spot.x:.3%}"><title>{text(said)}</title>{ticks}{_mark(module.whole, spot, scale)}</svg>'


def _mark(row: GradientRow, spot: _Spot, scale: _Scale) -> str:
    if row["state"] == "finite":
        if not row["norm"]:
            return ""
        return f'<circle class="gw-dot" cy="{scale.y(row["norm"], spot.top):.1f}" r="4"/>'
    y = RAIL_HEIGHT / 2 if row["state"] in ("NaN", "Inf") else spot.height - RAIL_HEIGHT / 2
    return f'<g class="gw-{row["state"]}" transform="translate(-5 {y - 5:.1f})">{GLYPHS[row["state"]]}</g>'


def _curves(modules: Sequence[ModuleRows], scale: _Scale, top: float) -> str:
    """Draw the line through the modules' norms, and the band of the last steps; both stretch with the width."""
    count = len(modules)
    xs = [(index + 0.5) / count * 1000 for index in range(count)]
    norms = [module.whole["norm"] if module.whole["state"] == "finite" else None for module in modules]
    line = _runs([(x, [scale.y(norm, top)]) if norm else None for x, norm in zip(xs, norms, strict=True)])
    bands = [_band(module.whole["norms"][-BAND_STEPS:]) for module in modules]
    band = _runs([(x, [scale.y(each, top) for each in b]) if b else None for x, b in zip(xs, bands, strict=True)])
    lines = "".join(
        f'<polyline class="gw-line" points="{" ".join(f"{x:.1f},{ys[0]:.1f}" for x, ys in run)}"/>' for run in line
    )
    areas = "".join(f'<polygon class="gw-area" points="{_outline(run)}"/>' for run in band if len(run) > 1)
    height = top + PLOT_HEIGHT
    return (
        f'<svg width="100%" height="{height}" viewBox="0 0 1000 {height}" preserveAspectRatio="none">'
        f"{areas}{lines}</svg>"
    )


def _band(norms: Sequence[float | None]) -> tuple[float, float] | None:
    """Find the 10th and the 90th percentile of what is finite and not zero."""
    seen = sorted(norm for norm in norms if norm is not None and math.isfinite(norm) and norm > 0)
    if len(seen) < 2:
        return None
    return seen[round(0.1 * (len(seen) - 1))], seen[round(0.9 * (len(seen) - 1))]


def _runs(points: Sequence[tuple[float, list[float]] | None]) -> list[list[tuple[float, list[float]]]]:
    """Split at gaps."""
    runs: list[list[tuple[float, list[float]]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _outline(run: Sequence[tuple[float, list[float]]]) -> str:
    there = [f"{x:.1f},{ys[0]:.1f}" for x, ys in run]
    back = [f"{x:.1f},{ys[1]:.1f}" for x, ys in reversed(run)]
    return " ".join([*there, *back])


def _rail_label(modules: Sequence[ModuleRows], on_rail: Sequence[bool], y: float) -> str:
    states: list[State] = [m.whole["state"] for m, is_on in zip(modules, on_rail, strict=True) if is_on]
    if not states:
        return ""
    state = worst(states)
    return f'<text x="34" y="{y + 3:.1f}" text-anchor="end" class="gw-{state}" style="fill:currentColor">{state}</text>'


def _x_labels(modules: Sequence[ModuleRows]) -> str:
    """Name outer modules under the columns of what is in them; at each width those for which there is room."""
    spans = _outer_modules([module.name for module in modules])
    shown = [_fitting(spans, len(modules), width - 64) for width in _WIDTHS]
    labels = ""
    for index, (name, start, end) in enumerate(spans):
        classes = " ".join(f"gw-w{width}" for width, fits in enumerate(shown) if index in fits)
        labels += f'<span class="{classes}" style="grid-column:{start + 1}/{end + 1}">{text(_label(name))}</span>'
    columns = f"grid-template-columns:repeat({len(modules)},minmax(0,1fr))"
    return f'<div class="gw-xl" style="{columns}" aria-hidden="true">{labels}</div>'


def _outer_modules(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, first and last column (exclusive) of the deepest outer modules that are at most LABELS."""
    paths = [name.split(".") for name in names]
    spans: list[tuple[str, int, int]] = []
    for depth in range(max(map(len, paths)), 0, -1):
        groups = [(key, list(columns)) for key, columns in groupby(range(len(paths)), lambda i: paths[i][:depth])]  # noqa: B023 # used at once
        spans = [(".".join(key), columns[0], columns[-1] + 1) for key, columns in groups]
        if len(spans) <= LABELS:
            break
    return spans


def _label(name: str) -> str:
    return name if len(name) <= LABEL_WIDTH else page.shortened(name.rpartition(".")[2], LABEL_WIDTH)


def _fitting(spans: Sequence[tuple[str, int, int]], columns: int, width: float) -> set[int]:
    """Choose labels from left to right that do not touch each other."""
    shown: set[int] = set()
    taken = -math.inf
    for index, (name, start, end) in enumerate(spans):
        middle, half = (start + end) / 2 / columns * width, len(_label(name)) * _CHARACTER_PX / 2
        if middle - half > taken:
            shown.add(index)
            taken = middle + half + _CHARACTER_PX
    return shown


def _chart_name(modules: Sequence[ModuleRows], step: int) -> str:
    norms = [(m.whole["norm"], m.name) for m in modules if m.whole["norm"] and m.whole["state"] == "finite"]
    lowest, highest = min(norms, default=None), max(norms, default=None)
    ends = (
        f", from {numbers.gradient(lowest[0])} in {lowest[1]} to {numbers.gradient(highest[0])} in {highest[1]}"
        if lowest and highest
        else ""
    )
    bad = [f"{module.whole['state']} in {module.name}" for module in modules if module.whole["state"] != "finite"]
    trouble = f"; {', '.join(bad)}" if bad else ""
    return f"Gradient norm of {numbers.counted(len(modules), 'module')} by depth at step {step}{ends}{trouble}."

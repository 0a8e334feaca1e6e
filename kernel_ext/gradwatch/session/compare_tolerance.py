"""When two gradients part: their statistics, side by side, against a tolerance.

Statistics can agree where values differ (two elements that changed places): "no difference" here always
means that none is seen in the statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]

DEFAULT_RTOL = 1e-4
DEFAULT_ATOL = 1e-8


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two gradients may lie apart and still count as the same. Zero for both means exactly.

    A statistic parts where |a - b| > rtol * scale + atol * unit. The scale is the larger of the two norms for
    `l1` and `l2`; the largest absolute element of either for `min` and `max`; the mean absolute element for
    `mean`, whose sum cancels; the number of elements for `zeros` and `subnormals`. `atol` is what one element
    may be off by, so the unit is 1 for `min`, `max` and `mean`, sqrt(count) for `l2` and count for `l1`.
    `count`, `nan` and `inf` must be equal.
    """

    rtol: float = DEFAULT_RTOL
    atol: float = DEFAULT_ATOL

    @property
    def exact(self) -> bool:
        return self.rtol == 0 and self.atol == 0

    def parts(self, a: float, b: float) -> bool:
        """Whether two numbers, such as losses, part. NaN equals NaN."""
        if a == b or (math.isnan(a) and math.isnan(b)):
            return False
        if not (math.isfinite(a) and math.isfinite(b)):
            return True
        return abs(a - b) > self.atol + self.rtol * max(abs(a), abs(b))


EXACT = Tolerance(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Gap:
    """One statistic of two gradients. `relative` is |a - b| by its scale; infinite where that is 0."""

    statistic: str
    a: float
    b: float
    relative: float
    parts: bool


@dataclass(frozen=True, slots=True)
class RowGaps:
    """Gaps of rows: `parts` (bool) where any statistic does, `relative` (float64) the largest, one entry a row."""

    parts: NDArray[np.bool_]
    relative: Floats


def relative_difference(a: float, b: float) -> float:
    """Return |a - b| by the larger of the two; 0 for two NaN, infinite where one alone is not finite."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def row_gaps(a: Columns, b: Columns, tolerance: Tolerance) -> RowGaps:
    """Compare rows of statistics, of which the same positions are about the same subject."""
    size = len(a["count"])
    parts, relative = np.zeros(size, dtype=bool), np.zeros(size)
    for _, gap, limit, share in _gaps(a, b, tolerance):
        parts |= gap > limit
        relative = np.maximum(relative, share)
    return RowGaps(parts, relative)


def gaps_of_row(a: Mapping[str, float], b: Mapping[str, float], tolerance: Tolerance) -> list[Gap]:
    """Return every statistic of one row of each: those that part first, then by how far."""
    left = {name: np.array([value]) for name, value in a.items()}
    right = {name: np.array([value]) for name, value in b.items()}
    found = [
        Gap(name, a[name], b[name], float(share[0]), bool(gap[0] > limit[0]))
        for name, gap, limit, share in _gaps(left, right, tolerance)
    ]
    return sorted(found, key=lambda each: (not each.parts, -each.relative))


def _gaps(a: Columns, b: Columns, tolerance: Tolerance) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """Go through the statistics: name, distance, limit and relative distance of every row."""
    count = np.maximum(np.maximum(a["count"], b["count"]), 0).astype(np.float64)
    nothing = np.zeros(len(count))
    largest = _largest([side[name] for side in (a, b) for name in ("min", "max")])
    one = np.ones(len(count))
    scales: dict[str, tuple[Floats, Floats]] = {
        "l2": (_largest([a["l2"], b["l2"]]), np.sqrt(count)),
        "l1": (_largest([a["l1"], b["l1"]]), count),
        "max": (largest, one),
        "min": (largest, one),
        "mean": (np.maximum(_mean_size(a), _mean_size(b)), one),
        "zeros": (count, nothing),
        "subnormals": (count, nothing),
        "nan": (nothing, nothing),
        "inf": (nothing, nothing),
        "count": (nothing, nothing),
    }
    for name, (scale, unit) in scales.items():
        gap = _distance(name, a, b)
        yield name, gap, tolerance.rtol * scale + tolerance.atol * unit, _share(gap, scale)


def _distance(name: str, a: Columns, b: Columns) -> Floats:
    """|a - b|, and 0 where one is not known: a count of -1, or NaN, which the counts of NaN and Inf decide."""
    if np.array_equal(a[name], b[name]):
        return np.zeros(len(a[name]))
    left, right = a[name].astype(np.float64), b[name].astype(np.float64)
    counted = name in ("count", "zeros", "nan", "inf", "subnormals")
    known = (left >= 0) & (right >= 0) if counted else ~(np.isnan(left) | np.isnan(right))
    with np.errstate(invalid="ignore"):
        return np.where(known & (left != right), np.abs(left - right), 0.0)


def _share(gap: Floats, scale: Floats) -> Floats:
    if not gap.any():
        return gap
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap > 0, np.where(scale > 0, gap / scale, np.inf), 0.0)


def _largest(columns: list[NDArray[Any]]) -> Floats:
    """Return the largest finite absolute value of each row, 0 where there is none."""
    sizes = np.abs(np.array(columns, dtype=np.float64))
    return np.where(np.isfinite(sizes), sizes, 0.0).max(axis=0)


def _mean_size(columns: Columns) -> Floats:
    finite = np.maximum(columns["count"] - columns["nan"] - columns["inf"], 1)
    return _largest([columns["l1"] / finite, columns["mean"]])

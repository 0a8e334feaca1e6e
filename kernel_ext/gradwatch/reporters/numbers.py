"""How every report writes a number: three significant digits, a real minus, "—" for what is missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EM DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


def gradient(value: float | None) -> str:
    """Write `4.58e−4`: one mantissa digit before the point whatever the size, so that mantissas align."""  # noqa: RUF002 -- a real minus
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return nonfinite(value)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def nonfinite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Inf" if value > 0 else f"{MINUS}Inf"


def scalar(value: float | None) -> str:
    """Write a loss or the like: `2.31`, `0.0812`, `31,400`, and an exponent only beyond 0.001 to 1e6."""
    if value is None or not math.isfinite(value) or value == 0:
        return gradient(value)
    if not 1e-3 <= abs(value) < 1e6:
        return gradient(value)
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{_decimals(rounded)}f}".replace("-", MINUS)


def size(count: float | None) -> str:
    """Bytes: `512 B`, `96.0 MiB`, `3.13 GiB`."""
    if count is None or count < 0:
        return MISSING
    if round(count) < 1000:
        return f"{round(count)} B"
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while len(units) > 1 and float(f"{amount:.3g}") >= 1000:
        amount /= 1024
        units.pop(0)
    return f"{_three_digits(amount)} {units[0]}"


def count(number: int | None) -> str:
    """Exact up to 9,999, then `25.2 M`."""
    if number is None:
        return MISSING
    if number <= 9_999:
        return f"{number:,}"
    amount, units = number / 1000, ["k", "M", "G", "T"]
    while len(units) > 1 and float(f"{amount:.3g}") >= 1000:
        amount /= 1000
        units.pop(0)
    return f"{_three_digits(amount)} {units[0]}"


def counted(number: int, noun: str) -> str:
    """`1 step`, `69 steps`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(fraction: float | None) -> str:
    """`24.0 %` of a fraction of 1."""
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    return f"{fraction * 100:.1f} %"


def ratio(value: float) -> str:
    """Write `×1.18`."""  # noqa: RUF002 -- the sign is meant
    return f"{TIMES}{_three_digits(value)}"


def duration(nanoseconds: float | None) -> str:
    """`640 ns`, `12.3 ms`, `3.42 s`, `41 min 5 s`, `3 h 20 min`."""
    if nanoseconds is None:
        return MISSING
    seconds = round(nanoseconds / 1e9)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    if seconds >= 100:
        return f"{seconds // 60} min {seconds % 60} s"
    amount, units = float(nanoseconds), ["ns", "µs", "ms", "s"]
    while len(units) > 1 and float(f"{amount:.3g}") >= 1000:
        amount /= 1000
        units.pop(0)
    return f"{_three_digits(amount) if units[0] != 'ns' else round(amount)} {units[0]}"


def shape(sizes: Sequence[int] | None) -> str:
    """Write `768×768`; `scalar` for a tensor without dimensions."""  # noqa: RUF002 -- the sign is meant
    if sizes is None:
        return MISSING
    return TIMES.join(str(extent) for extent in sizes) or "scalar"


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{_decimals(rounded)}f}"


def _decimals(rounded: float) -> int:
    """Decimals that leave three significant digits of `rounded`."""
    return max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0

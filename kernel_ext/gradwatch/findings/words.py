"""How findings say what several of them say: names, counts, lists by module."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradwatch.session.names import ParameterView

LISTED = 12
"""Modules in an evidence list; the rest is counted."""


def names(of: Sequence[str], shown: int = 1) -> str:
    """`a`, `a and b`, `encoder.0.weight and 11 more`."""
    if len(of) <= shown + 1:
        return " and ".join(of)
    return f"{', '.join(of[:shown])} and {len(of) - shown} more"


def counted(number: int, noun: str) -> str:
    """`1 step`, `69 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float) -> str:
    """Three digits, as a person reads them: `0.00123`, `4.58e-07`."""
    return f"{value:.3g}"


def size(count: float) -> str:
    """Bytes: `512 B`, `96.0 MiB`, `3.13 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"


def percent(share: float) -> str:
    """`45 %`, `0.31 %`; below a thousandth of that the share itself: `4.6e-07`."""
    return f"{share:.2g}" if 0 < abs(share) < 1e-5 else f"{100 * share:.{2 if abs(share) < 0.995 else 3}g} %"


def duration(nanoseconds: float) -> str:
    """`640 ns`, `12.3 ms`, `3.42 s`."""
    for unit in ("ns", "µs", "ms", "s"):
        if nanoseconds < 1000 or unit == "s":
            break
        nanoseconds /= 1000
    return f"{nanoseconds:.3g} {unit}"


def shape(sizes: Sequence[int]) -> str:
    """`768 x 768`; `scalar` for a tensor without dimensions."""
    return " x ".join(map(str, sizes)) or "scalar"


def by_module(parameters: Iterable[ParameterView]) -> list[str]:
    """One line a module: `encoder.0: weight, bias`."""
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for view in parameters:
        module, _, own = view.name.rpartition(".")
        inside[module].append(own)
    lines = [f"{module}: {', '.join(own)}" if module else ", ".join(own) for module, own in inside.items()]
    return lines if len(lines) <= LISTED else [*lines[:LISTED], f"and {len(lines) - LISTED} more modules"]

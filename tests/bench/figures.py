"""What a bench measured, in one form for all: printed as a table, and written as JSON for `run.py` to gather."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 1


@dataclass(frozen=True)
class Figure:
    """The median of one measurement, and its first and third quartile.

    `what` is measured, `on` which program or input; `unit` is "x" where it is a ratio. `wanted` is what is aimed at:
    at most, or at least where `more_is_better`; None where nothing is.
    """

    what: str
    on: str
    value: float
    low: float
    high: float
    unit: str = "x"
    wanted: float | None = None
    more_is_better: bool = False

    @staticmethod
    def of(what: str, on: str, values: Sequence[float], **more: Any) -> Figure:
        """The figure of several measurements of the same. Raises StatisticsError where there is none."""
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
        return Figure(what, on, statistics.median(values), low, high, **more)

    def is_reached(self) -> bool | None:
        """Whether it is as good as wanted; None where nothing is wanted."""
        if self.wanted is None:
            return None
        return self.value >= self.wanted if self.more_is_better else self.value <= self.wanted


def table(figures: Sequence[Figure]) -> str:
    """Lines of text, one a figure."""
    rows = [("", "", "median", "middle half", "wanted", ""), *(_row(each) for each in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(each: Figure) -> tuple[str, ...]:
    bound = ">=" if each.more_is_better else "<="
    wanted = "" if each.wanted is None else f"{bound} {_text(each.wanted, each.unit)}"
    verdict = {True: "reached", False: "not reached", None: ""}[each.is_reached()]
    spread = f"{_text(each.low, each.unit)} to {_text(each.high, each.unit)}"
    return each.what, each.on, _text(each.value, each.unit), spread, wanted, verdict


def _text(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
    return number if unit == "x" else f"{number} {unit}"


def write(path: Path | None, figures: Sequence[Figure], **more: Any) -> None:
    """Write the figures, and what else is to be known of the run (JSON values). Nothing where `path` is None."""
    if path is not None:
        content = {"version": VERSION, **more, "figures": [asdict(each) for each in figures]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[Figure]:
    """The figures of a file. Raises ValueError where it is none of this version."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("version") != VERSION:
        raise ValueError(f"{path} has version {content.get('version')}, not {VERSION}: measure again.")
    return [Figure(**each) for each in content["figures"]]

"""The README's table of what recording costs, from the figures of one `make bench`: tests/bench/costs.json.

python tests/bench/cost_table.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import Figure, read

if TYPE_CHECKING:
    from collections.abc import Sequence

COSTS = Path(__file__).with_name("costs.json")
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- costs: written by tests/bench/cost_table.py -->\n", "<!-- end of costs -->\n"
DETAILS = ("parameters", "modules", "nodes")
FLOOR = "floor: empty module hooks"


def with_table(text: str) -> str:
    """The README's text with the table as it is now. Raises ValueError where its marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the marks {BEGIN.strip()} and {END.strip()}")
    machine: dict[str, Any] = json.loads(COSTS.read_text(encoding="utf-8"))["machine"]
    return "".join([before, begin, "\n", cost_table(read(COSTS), machine), "\n", end, after])


def cost_table(figures: Sequence[Figure], machine: dict[str, Any]) -> str:
    """Markdown: a row for each program that was recorded, with the median and middle half of the ratios."""
    found = {(each.on, each.what): each for each in figures}
    programs = [each.on for each in figures if each.what == "step alone"]
    lines = [
        f"A recorded step over the same step alone, median and middle half ({machine['cpu']},",
        f"torch {machine['torch']}, one thread), on small programs, which a recorder slows down most; and as a floor,",
        "hooks on modules that do nothing:",
        "",
        "| program | step alone | " + " | ".join(f"`{detail}`" for detail in DETAILS) + " | empty hooks on modules |",
        "|---" * (3 + len(DETAILS)) + "|",
    ]
    for program in programs:
        cells = [_ratio(found.get((program, what))) for what in (*DETAILS, FLOOR)]
        lines.append(f"| {program} | {found[program, 'step alone'].value:.1f} ms | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _ratio(each: Figure | None) -> str:
    return "" if each is None else f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})"


def main() -> int:
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return 0 if with_table(text) == text else 1
    README.write_text(with_table(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

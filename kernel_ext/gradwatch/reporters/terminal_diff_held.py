"""What was held for backward in two sessions, in the terminal: what grew and what shrank, largest change first."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import numbers, page
from gradwatch.reporters.terminal_diff_gradients import step_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gradwatch.reporters.diff_json import HeldChangeRow, HeldDiff

SHOWN_HELD = 8


def held_change(held: HeldDiff, width: int) -> RenderableType:
    title = f"Held for backward at {step_text(held['step'], held['step_b'])}"
    change = held["total_b"] - held["total_a"]
    sentence = f"{numbers.size(held['total_a'])} in a, {numbers.size(held['total_b'])} in b"
    has_lines = any(row["text"] for row in held["by_line"])
    rows = [row for row in held["by_line" if has_lines else "by_module"] if row["delta"]]
    if not rows:
        return page.section(title, f"{numbers.size(held['total_a'])} in both" if not change else sentence)
    return page.section(
        title, f"{sentence} ({_delta(change)})", _held_table(rows, "line" if has_lines else "module", width - 2)
    )


def _held_table(rows: Sequence[HeldChangeRow], key: str, width: int) -> RenderableType:
    made = page.table((f"by {key}", "left"), ("a", "right"), ("b", "right"), ("change", "right"), ("", "left"))
    for row in rows[:SHOWN_HELD]:
        label = Text(page.shortened(_held_label(row), width // 3), page.ACCENT if key == "line" else "")
        sizes = (numbers.size(row["bytes_a"]), numbers.size(row["bytes_b"]), _delta(row["delta"]))
        made.add_row(label, *sizes, Text(page.cut(row["text"] or "", width // 3), "dim"))
    rest = rows[SHOWN_HELD:]
    more = f"and {numbers.count(len(rest))} more by {key}, {_delta(sum(row['delta'] for row in rest))}"
    return Group(made, Text(more, "dim")) if rest else made


def _held_label(row: HeldChangeRow) -> str:
    """Name the file without its directory, and a line that moved by both of its numbers."""
    known = [PurePath(label).name for label in (row["label_a"], row["label_b"]) if label is not None]
    return " | ".join(dict.fromkeys(known))


def _delta(size: int) -> str:
    sign = "+" if size > 0 else numbers.MINUS if size < 0 else ""
    return sign + numbers.size(abs(size))

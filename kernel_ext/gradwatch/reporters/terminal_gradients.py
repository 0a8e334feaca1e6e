"""The gradient table of the terminal reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import JustifyMethod
    from rich.table import Table

    from gradwatch.reporters.json import GradientRow

CURVE_WIDTH = 12
NARROWEST_NAME = 20


@dataclass(frozen=True)
class _Column:
    """A column; left out where `says` holds for no row. Where room is short, the highest `spare` goes first."""

    head: str
    cell: Callable[[GradientRow], Text]
    says: Callable[[GradientRow], bool]
    justify: JustifyMethod = "left"
    spare: int = 0


@dataclass(frozen=True)
class _Filled:
    column: _Column
    cells: list[Text]

    @property
    def width(self) -> int:
        return max(len(self.column.head), *(cell.cell_len for cell in self.cells))


def gradients_table(rows: Sequence[tuple[str, GradientRow]], width: int) -> Table:
    """Lay out named rows in `width` columns: numbers never shorten, names do, in the middle."""
    columns = _fitting_columns(rows, width)
    name_width = max(NARROWEST_NAME, _room(columns, width))
    heads: list[tuple[str, JustifyMethod]] = [(filled.column.head, filled.column.justify) for filled in columns]
    made = page.table(("", "left"), ("name", "left"), *heads)
    for index, (name, row) in enumerate(rows):
        made.add_row(_glyph(row), page.shortened(name, name_width), *(filled.cells[index] for filled in columns))
    return made


def _fitting_columns(rows: Sequence[tuple[str, GradientRow]], width: int) -> list[_Filled]:
    filled = [
        _Filled(column, [column.cell(row) for _, row in rows])
        for column in _COLUMNS
        if any(column.says(row) for _, row in rows)
    ]
    wanted = min(max(len(name) for name, _ in rows), NARROWEST_NAME)
    while _room(filled, width) < wanted and any(each.column.spare for each in filled):
        first_to_go = max(each.column.spare for each in filled)
        filled = [each for each in filled if each.column.spare != first_to_go]
    return filled


def _room(columns: Sequence[_Filled], width: int) -> int:
    """Count the characters left for the names."""
    return width - 3 - sum(filled.width + 2 for filled in columns)


def _glyph(row: GradientRow) -> Text:
    state = row["state"]
    return Text(glyphs.GLYPHS[state], page.TROUBLE.get(state, "dim"))


def _shape(row: GradientRow) -> Text:
    return Text(page.cut(numbers.shape(row["shape"]), 12) if row["shape"] is not None else "", "dim")


def _curve(row: GradientRow) -> Text:
    return page.curve_cell(row["norms"], CURVE_WIDTH, "dim", logarithmic=True)


def _zero(row: GradientRow) -> Text:
    return Text(numbers.percent(row["zero_fraction"]), "" if row["zeros"] else "dim")


def _word(row: GradientRow) -> Text:
    state = row["state"]
    if state == "finite":
        return Text("")
    bad = {"NaN": row["nan"], "Inf": row["inf"]}.get(state)
    some = f" in {numbers.count(bad)}" if bad and bad != row["count"] else ""
    return Text(state + some, page.TROUBLE.get(state, "dim"))


_COLUMNS = (
    _Column("shape", _shape, lambda row: row["shape"] is not None, spare=2),
    _Column("norm", lambda row: page.gradient_cell(row["norm"]), lambda _: True),
    _Column("over steps", _curve, lambda row: len(row["norms"]) > 1),
    _Column("min", lambda row: page.gradient_cell(row["min"], signed=True), lambda _: True, spare=1),
    _Column("max", lambda row: page.gradient_cell(row["max"], signed=True), lambda _: True, spare=1),
    _Column("zeros", _zero, lambda row: bool(row["zeros"]), justify="right"),
    _Column("update", lambda row: page.gradient_cell(row["update_ratio"]), lambda row: row["update_ratio"] is not None),
    _Column("", _word, lambda row: row["state"] != "finite"),
)

"""CSV: UTF-8, one header line; NaN, inf and -inf as written here, an empty cell for what was not recorded.

Text that a spreadsheet would take for a formula begins with an apostrophe. Numbers are left alone.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradwatch.reporters.exports.columns import Batch, Column, Table
    from gradwatch.reporters.exports.source import Source

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BOOLEANS = {True: "true", False: "false", None: None}


def write_csv(source: Source, table: Table, path: Path) -> int:
    """Write a table; return the number of rows."""
    rows = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in table.columns])
        for batch in table.batches(source, table):
            cells = [_cells(column, batch) for column in table.columns]
            rows += len(cells[0])
            writer.writerows(zip(*cells, strict=True))
    return rows


def write_columns(tables: Sequence[Table], path: Path) -> None:
    """Write what the columns of the tables are, which CSV itself has no place for."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["table", "column", "dtype", "description"])
        for table in tables:
            writer.writerows([table.name, column.name, column.kind, column.doc] for column in table.columns)


def _cells(column: Column, batch: Batch) -> list[Any]:
    found = batch[column.name]
    values: list[Any] = found.tolist() if isinstance(found, np.ndarray) else list(found)
    if column.kind == "text":
        return [_harmless(value) for value in values]
    if column.kind == "bool":
        return [_BOOLEANS[value] for value in values]
    if column.missing is not None:
        return [None if value == column.missing else value for value in values]
    return values


def _harmless(text: str | None) -> str | None:
    return f"'{text}" if text and text.startswith(_FORMULA) else text

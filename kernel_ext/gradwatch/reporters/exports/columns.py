"""Tidy tables: named, typed, documented columns, and batches of rows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from gradwatch.errors import SessionDamaged
from gradwatch.reporters.exports.source import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from gradwatch.reporters.exports.source import Source

Kind = Literal["int64", "float64", "bool", "text"]
Batch: TypeAlias = "dict[str, NDArray[Any] | Sequence[Any]]"
"""Some rows of a table, by column; None is a cell that was not recorded."""

ROWS_AT_ONCE = 1 << 14
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Column:
    """A column: of int64, float64 (NaN and infinities as they are), bool or text. `missing` stands for no value."""

    name: str
    kind: Kind
    doc: str
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the types of the records that it is made of, and what makes it."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    reads: tuple[type, ...]
    batches: Callable[[Source, Table], Iterator[Batch]]


def in_batches(source: Source, table: Table, rows: Iterable[Sequence[Any]]) -> Iterator[Batch]:
    """Gather rows, each with a cell for every column, into batches. Rows with a number beyond int64 are left out."""
    gathered: list[Sequence[Any]] = []
    for row in rows:
        with source.losing_damaged():
            gathered.append(_checked(source, table, row))
        if len(gathered) >= ROWS_AT_ONCE:
            yield _columns(table, gathered)
            gathered = []
    if gathered:
        yield _columns(table, gathered)


def repeated(value: int, count: int) -> NDArray[np.int64]:
    """Make a column that says the same in every row."""
    return np.full(count, value, dtype=np.int64)


def _checked(source: Source, table: Table, row: Sequence[Any]) -> list[Any]:
    cells = [cut(cell) if isinstance(cell, str) else cell for cell in row]
    for cell, column in zip(cells, table.columns, strict=True):
        if column.kind == "int64" and isinstance(cell, int) and not -_INT64 <= cell < _INT64:
            raise SessionDamaged(source.session.path, f"{table.name} has a {column.name} of {cell}")
    return [
        None if column.missing is not None and cell == column.missing else cell
        for cell, column in zip(cells, table.columns, strict=True)
    ]


def _columns(table: Table, rows: list[Sequence[Any]]) -> Batch:
    cells = zip(*rows, strict=True)
    return {column.name: list(values) for column, values in zip(table.columns, cells, strict=True)}

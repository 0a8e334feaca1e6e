"""Parquet: zstd, row groups of some ten thousand rows. NaN stays NaN; null is what was not recorded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.errors import MissingDependency

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch.reporters.exports.columns import Batch, Column, Table
    from gradwatch.reporters.exports.source import Source

_ROWS_IN_A_GROUP = 1 << 16


def write_parquet(source: Source, table: Table, path: Path) -> int:
    """Write a table; return the number of rows. Raises MissingDependency without pyarrow."""
    arrow, parquet = _pyarrow()
    schema = _schema(arrow, table)
    rows, waiting = 0, 0
    parts: list[Any] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in table.batches(source, table):
            arrays = [_array(arrow, column, batch) for column in table.columns]
            parts.append(arrow.record_batch(arrays, schema=schema))
            waiting += len(parts[-1])
            if waiting >= _ROWS_IN_A_GROUP:
                writer.write_table(arrow.Table.from_batches(parts, schema))
                rows, waiting, parts = rows + waiting, 0, []
        writer.write_table(arrow.Table.from_batches(parts, schema))
    return rows + waiting


def require_pyarrow() -> None:
    """Raise MissingDependency without pyarrow."""
    _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependency("gradwatch export --to parquet", "pyarrow", "gradwatch[export]") from None


def _type(arrow: Any, column: Column) -> Any:
    kinds = {"int64": arrow.int64, "float64": arrow.float64, "bool": arrow.bool_, "text": arrow.string}
    return kinds[column.kind]()


def _schema(arrow: Any, table: Table) -> Any:
    fields = [
        arrow.field(column.name, _type(arrow, column), metadata={"description": column.doc}) for column in table.columns
    ]
    return arrow.schema(fields, metadata={"description": table.doc})


def _array(arrow: Any, column: Column, batch: Batch) -> Any:
    cells = batch[column.name]
    mask = None
    if column.missing is not None and isinstance(cells, np.ndarray):
        mask = cells == column.missing
    return arrow.array(cells, _type(arrow, column), mask=mask, from_pandas=False)

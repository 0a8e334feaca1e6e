"""Columns as numbers where numpy may be absent. Standard library only."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.records import Column

_CODES = {"|u1": "B", "<i4": "i", "<u4": "I", "<i8": "q", "<u8": "Q", "<f4": "f", "<f8": "d"}


def numbers(column: Column) -> Sequence[Any]:
    """The entries of a column. Raises KeyError for a dtype that the contract does not have."""
    values: array[Any] = array(_CODES[column.dtype])
    values.frombytes(column.data)
    if sys.byteorder == "big":
        values.byteswap()
    return values

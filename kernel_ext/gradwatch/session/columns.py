"""Columns of records as numpy arrays, checked before anything indexes with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.errors import SessionDamaged
from gradwatch.records import HISTOGRAM_BINS, HISTOGRAM_LOWEST_EXPONENT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.records import Column

_NUMBERS = re.compile(r"[<|][iuf][1248]")
_COUNT_OF_CODE = np.concatenate([[0.0], 2.0 ** (np.arange(255) / 8)])

HISTOGRAM_EDGES: NDArray[np.int64] = np.arange(
    HISTOGRAM_LOWEST_EXPONENT, HISTOGRAM_LOWEST_EXPONENT + HISTOGRAM_BINS + 1
)
"""log2 of the bins' edges, int64 (65,). The first and the last bin are open."""


def as_array(column: Column, path: Path, length: int | None = None) -> NDArray[Any]:
    """View a column as an array, which must have `length` entries. Raises SessionDamaged."""
    if not _NUMBERS.fullmatch(column.dtype):
        raise SessionDamaged(path, f"a column says its numbers are {column.dtype!r}")
    size = np.dtype(column.dtype).itemsize
    if len(column.data) % size or (length is not None and len(column.data) != length * size):
        raise SessionDamaged(
            path, f"a column of {column.dtype} has {len(column.data)} bytes, {length} numbers expected"
        )
    return np.frombuffer(column.data, dtype=column.dtype)


def as_indices(column: Column, path: Path, length: int, limit: int) -> NDArray[np.int64]:
    """View a column as int64 indices from -1 (none) to `limit` - 1. Raises SessionDamaged."""
    indices = as_array(column, path, length).astype(np.int64)
    if length and (int(indices.min()) < -1 or int(indices.max()) >= limit):
        raise SessionDamaged(path, f"a column points at entry {int(indices.max())} of {limit}")
    return indices


def decode_histograms(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Turn histogram codes into counts, each within 4.5 % of the true one."""
    return _COUNT_OF_CODE[codes]

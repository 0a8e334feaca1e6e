"""The arena that statistics are written into: rows of fixed layout, shared with the C kernel.

A row holds sums, not means, so that rows of parts can be merged; `columns` turns rows into the columns of
`records.Gradients` and `histogram_codes` into the bytes of `records.Histograms`.
"""

from __future__ import annotations

from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import HISTOGRAM_BINS, STATISTIC_DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTS = ("count", "zeros", "nan", "inf", "subnormals")
ROW = np.dtype(
    [
        *((name, "<u8") for name in COUNTS),
        *((name, "<f8") for name in ("min", "max", "sum", "l1", "l2")),
        ("has_histogram", "<u8"),
        ("histogram", "<u8", (HISTOGRAM_BINS,)),
    ]
)
"""One tensor's statistics; the layout of `struct row` in statistics_kernel.c."""

CHUNK = 256  # rows; an arena of a few parameters costs 150 kB of address space, little of it touched


class Arena:
    """Rows at fixed addresses. `take` may be called from several threads at once, `clear` may not."""

    def __init__(self) -> None:
        self._chunks: list[NDArray[np.void]] = []
        self.addresses: list[int] = []
        self._growing = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all rows; their memory is used again."""
        self._numbers = count()
        self.next_number = self._numbers.__next__  # atomic, so threads need no lock for a number of their own

    def grow(self, number: int) -> int:
        """Return the address of row `number`, which may lie beyond what is allocated."""
        with self._growing:
            while number >= len(self.addresses):
                chunk = np.zeros(CHUNK, ROW)
                self._chunks.append(chunk)
                start = chunk.ctypes.data
                self.addresses.extend(range(start, start + CHUNK * ROW.itemsize, ROW.itemsize))
        return self.addresses[number]

    def take(self) -> int:
        """Return the number of a new row, whose contents are undefined."""
        number = self.next_number()
        self.grow(number)
        return number

    def row(self, number: int) -> NDArray[np.void]:
        """Return a writable view, shape (1,), of one row."""
        at = number % CHUNK
        return self._chunks[number // CHUNK][at : at + 1]

    def used(self) -> int:
        """How many rows were taken."""
        return int(repr(self._numbers)[len("count(") : -1])  # a counter says its next number in no other way

    def gather(self, numbers: NDArray[np.int64]) -> NDArray[np.void]:
        """Copy the rows of these numbers. Raises IndexError where a number was never taken."""
        if len(numbers) == 0:
            return np.zeros(0, ROW)
        if numbers.min() < 0 or numbers.max() >= self.used():
            raise IndexError(f"rows {numbers.min()} to {numbers.max()} were asked for, of {self.used()}")
        rows = np.empty(len(numbers), ROW)
        chunks, places = np.divmod(numbers, CHUNK)
        for chunk in np.unique(chunks):
            wanted = chunks == chunk
            rows[wanted] = self._chunks[chunk][places[wanted]]
        return rows


def empty_row(zeros: int, *, histogram: bool) -> NDArray[np.void]:
    """Return the row, shape (1,), of a tensor with so many zeros and nothing else."""
    row = np.zeros(1, ROW)
    row["has_histogram"] = histogram
    row["count"] = row["zeros"] = zeros
    row["min"] = row["max"] = 0.0 if zeros else np.nan
    return row


def merge_into(row: NDArray[np.void], other: NDArray[np.void]) -> None:
    """Add what `other` counted to `row`; both of shape (1,)."""
    for name in COUNTS:
        row[name] += other[name]
    for name in ("sum", "l1"):
        row[name] += other[name]
    row["min"] = np.fmin(row["min"], other["min"])
    row["max"] = np.fmax(row["max"], other["max"])
    row["l2"] = np.hypot(row["l2"], other["l2"])
    row["histogram"] += other["histogram"]
    row["has_histogram"] |= other["has_histogram"]


def scale_row(row: NDArray[np.void], repeat: int) -> None:
    """Make `row` stand for a tensor in which every value read stands `repeat` times."""
    for name in (*COUNTS, "histogram"):
        row[name] *= np.uint64(repeat)
    for name in ("sum", "l1"):
        row[name] *= float(repeat)
    row["l2"] *= np.sqrt(float(repeat))


def negate_row(row: NDArray[np.void]) -> None:
    """Make `row` stand for the negated tensor."""
    row["min"], row["max"] = -row["max"], -row["min"]
    row["sum"] = -row["sum"]


def columns_of(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """Return the columns named and typed as STATISTIC_DTYPES.

    A float column is widened to float64 where a value would over- or underflow float32.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = rows["sum"] / (rows["count"] - rows["nan"] - rows["inf"]).astype(np.float64)
    columns: dict[str, NDArray[Any]] = {}
    for name, dtype in STATISTIC_DTYPES.items():
        values = mean if name == "mean" else np.ascontiguousarray(rows[name])
        columns[name] = _narrow(values) if dtype == "<f4" else values
    return columns


def _narrow(values: NDArray[np.float64]) -> NDArray[Any]:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = values.astype("<f4")
    overflowed = np.isinf(narrow) & np.isfinite(values)
    underflowed = (narrow == 0) & (values != 0)
    return values if overflowed.any() or underflowed.any() else narrow


def codes_of(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    """Return histogram bytes, shape (rows, 64): 0 for none, else 1 + round(8 log2 count).

    Rows taken without a histogram are all zero. A byte ends at 255: counts beyond 3.6e9 read as that.
    """
    counts = np.where(rows["has_histogram"][:, None] != 0, rows["histogram"], 0)
    codes = np.zeros(counts.shape, np.uint8)
    some = counts > 0
    codes[some] = np.minimum(255, 1 + np.rint(8 * np.log2(counts[some].astype(np.float64)))).astype(np.uint8)
    return codes


def counts_from_codes(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the counts that histogram bytes stand for, each within 4.5 %."""
    return np.where(codes == 0, 0.0, np.exp2((codes.astype(np.float64) - 1) / 8))

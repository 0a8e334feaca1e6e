"""The arena that statistics are written into: rows of fixed layout, shared with the C kernel.

A row holds sums, not means, so that rows of parts can be merged; `columns` turns rows into the columns of
`records.Gradients` and `histogram_codes` into the bytes of `records.Histograms`.
"""

from __future__ import annotations

from functools import cache
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

_WORDS = ROW.itemsize // 8
_HEAD_WORDS = _WORDS - HISTOGRAM_BINS
_FIRST_FLOAT = len(COUNTS)
_NAN, _INF = COUNTS.index("nan"), COUNTS.index("inf")
FLOATS = ("min", "max", "mean", "l1", "l2")

CHUNK = 256  # rows; an arena of a few parameters costs 150 kB of address space, little of it touched


class Arena:
    """Rows at fixed addresses. `take` may be called from several threads at once, `clear` may not."""

    def __init__(self) -> None:
        self._chunks: list[NDArray[np.uint64]] = []
        self._words_of: list[memoryview] = []
        self._starts: list[int] = []
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
                chunk = np.zeros((CHUNK, _WORDS), np.uint64)
                self._chunks.append(chunk)
                self._words_of.append(memoryview(_flat(chunk)))
                start = chunk.ctypes.data
                self._starts.append(start)
                self.addresses.extend(range(start, start + CHUNK * ROW.itemsize, ROW.itemsize))
        return self.addresses[number]

    def take(self) -> int:
        """Return the number of a new row, whose contents are undefined."""
        number = self.next_number()
        if number >= len(self.addresses):
            self.grow(number)
        return number

    def row(self, number: int) -> NDArray[np.void]:
        """Return a writable view, shape (1,), of one row."""
        at = number % CHUNK
        return self._chunks[number // CHUNK][at].view(ROW)

    def level(self, number: int) -> int:
        """2 where a row has counted a NaN, else 1 where it has an Inf, else 0."""
        words = self._words_of[number // CHUNK]  # numpy takes 0.2 µs for one number
        at = number % CHUNK * _WORDS
        return 2 if words[at + _NAN] else int(words[at + _INF] != 0)

    def used(self) -> int:
        """How many rows were taken."""
        return int(repr(self._numbers)[len("count(") : -1])  # a counter says its next number in no other way

    def gather(self, numbers: NDArray[np.int64]) -> NDArray[np.void]:
        """Copy these rows whole, shape (rows,). Raises as `heads`."""
        return np.frombuffer(self._words(numbers, slice(0, _WORDS)).tobytes(), ROW)

    def heads(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Copy the words before the histogram of these rows, shape (rows, 11).

        Raises IndexError where a number was never taken.
        """
        return self._words(numbers, slice(0, _HEAD_WORDS))

    def histograms(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Copy the histograms of these rows, shape (rows, 64); zeros where none was taken. Raises as `heads`."""
        counts = self._words(numbers, slice(_HEAD_WORDS, _WORDS))
        counts[self._words(numbers, slice(_HEAD_WORDS - 1, _HEAD_WORDS))[:, 0] == 0] = 0
        return counts

    def pointers(self, numbers: NDArray[np.int64]) -> NDArray[np.uintp]:
        """Return the addresses of the chunks, CHUNK rows each, that hold these rows. Raises as `heads`."""
        self._check(numbers)
        return np.array(self._starts, np.uintp)

    def _check(self, numbers: NDArray[np.int64]) -> int:
        """Return the highest of some row numbers, -1 of none."""
        if len(numbers) == 0:
            return -1
        lowest, highest = int(numbers.min()), int(numbers.max())
        if lowest < 0 or highest >= self.used():
            raise IndexError(f"rows {lowest} to {highest} were asked for, of {self.used()}")
        return highest

    def _words(self, numbers: NDArray[np.int64], words: slice) -> NDArray[np.uint64]:
        # As words, not as records: numpy copies a record field by field, a hundred times slower.
        width = words.stop - words.start
        highest = self._check(numbers)
        if highest < 0:
            return np.zeros((0, width), np.uint64)
        if highest < CHUNK:
            return self._chunks[0][numbers, words]
        found = np.empty((len(numbers), width), np.uint64)
        chunks, places = np.divmod(numbers, CHUNK)
        for chunk in range(int(chunks.min()), highest // CHUNK + 1):
            wanted = chunks == chunk
            found[wanted] = self._chunks[chunk][places[wanted], words]
        return found


def _flat(chunk: Any) -> Any:
    return chunk.reshape(-1)


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
    with np.errstate(over="ignore", invalid="ignore"):  # as in scale_row; Inf less Inf is NaN
        for name in ("sum", "l1"):
            row[name] += other[name]
        row["l2"] = np.hypot(row["l2"], other["l2"])
    row["min"] = np.fmin(row["min"], other["min"])
    row["max"] = np.fmax(row["max"], other["max"])
    row["histogram"] += other["histogram"]
    row["has_histogram"] |= other["has_histogram"]


def scale_row(row: NDArray[np.void], repeat: int) -> None:
    """Make `row` stand for a tensor in which every value read stands `repeat` times."""
    for name in (*COUNTS, "histogram"):
        row[name] *= np.uint64(repeat)
    with np.errstate(over="ignore"):  # sums beyond the range of float64 are Inf
        for name in ("sum", "l1"):
            row[name] *= float(repeat)
        row["l2"] *= np.sqrt(float(repeat))


def negate_row(row: NDArray[np.void]) -> None:
    """Make `row` stand for the negated tensor."""
    row["min"], row["max"] = -row["max"], -row["min"]
    row["sum"] = -row["sum"]


def columns_of(heads: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
    """Return the columns named and typed as STATISTIC_DTYPES, from `Arena.heads`."""
    counts = np.ascontiguousarray(np.transpose(heads[:, : len(COUNTS)]))
    words = np.ascontiguousarray(np.transpose(heads[:, _FIRST_FLOAT : _FIRST_FLOAT + len(FLOATS)]))
    floats = np.array(np.reshape(np.frombuffer(words.tobytes(), np.float64), words.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        floats[FLOATS.index("mean")] /= counts[0] - counts[_NAN] - counts[_INF]
    return named_columns(counts, floats)


def named_columns(counts: NDArray[np.uint64], floats: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return the columns of STATISTIC_DTYPES from those of COUNTS, shape (5, rows), and of FLOATS, shape (5, rows).

    A float column is widened to float64 where a value would over- or underflow float32.
    """
    columns: dict[str, NDArray[Any]] = dict(zip(COUNTS, counts, strict=True))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = np.asarray(floats, "<f4")
    fits = ((np.isinf(narrow) == np.isinf(floats)) & ((narrow == 0) == (floats == 0))).all(axis=1)
    for i, name in enumerate(FLOATS):
        columns[name] = narrow[i] if fits[i] else floats[i]
    return {name: columns[name] for name in STATISTIC_DTYPES}


def codes_of(counts: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return histogram bytes, shape (rows, 64): 0 for none, else 1 + round(8 log2 count).

    A byte ends at 255: counts beyond 3.6e9 read as that.
    """
    table = code_table()
    codes = table[np.minimum(counts, len(table) - 1).astype(np.intp)]
    large = counts >= len(table)
    if large.any():
        codes[large] = _code(counts[large])
    return codes


@cache
def code_table() -> NDArray[np.uint8]:
    """The bytes of all counts below 65,536: looking up is ten times faster than a logarithm."""
    codes = np.zeros(1 << 16, np.uint8)
    codes[1:] = _code(np.arange(1, 1 << 16, dtype=np.uint64))
    return codes


def _code(counts: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.minimum(255, 1 + np.rint(8 * np.log2(counts.astype(np.float64)))).astype(np.uint8)


def counts_from_codes(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the counts that histogram bytes stand for, each within 4.5 %."""
    return np.where(codes == 0, 0.0, np.exp2((codes.astype(np.float64) - 1) / 8))

"""Rows read back by the compiled kernel and by numpy: the same columns, the same bytes, the same refusals."""

from __future__ import annotations

import numpy as np
import pytest

from gradwatch.capture.statistics_cpu import Kernel, load_kernel, read_codes, read_columns
from gradwatch.capture.statistics_rows import CHUNK, Arena, codes_of, columns_of

ROWS = 2 * CHUNK + 88


@pytest.fixture
def kernel() -> Kernel:
    kernel = load_kernel()
    if kernel is None:
        pytest.skip("the kernel was not built on this machine")
    return kernel


@pytest.fixture
def arena() -> Arena:
    """Rows of every kind: nothing finite, without a histogram, beyond float32, counts of every size."""
    arena, random = Arena(), np.random.default_rng(7)
    for number in range(ROWS):
        row = arena.row(arena.take())
        row["nan"], row["inf"] = number % 3, number % 5
        row["count"] = row["nan"] + row["inf"] + (0 if number % 11 == 0 else number)
        row["zeros"], row["subnormals"] = number, number // 2
        for name in ("min", "max", "sum", "l1", "l2"):
            row[name] = random.standard_normal()
        row["has_histogram"] = number % 7 != 0
        row["histogram"] = np.exp2(random.uniform(0, 60, 64)).astype(np.uint64) * (random.random(64) > 0.3)
    arena.row(ROWS - 1)["l1"] = 1e300
    arena.row(3)["min"] = 1e-300
    return arena


ORDERS = {
    "all": np.arange(ROWS),
    "one chunk": np.arange(5),
    "backwards": np.arange(ROWS)[::-1].copy(),
    "twice": np.array([300, 3, 300, 3]),
    "none": np.arange(0),
}


@pytest.mark.parametrize("numbers", ORDERS.values(), ids=ORDERS)
def test_columns_are_the_same(kernel: Kernel, arena: Arena, numbers: np.ndarray) -> None:
    expected, found = columns_of(arena.heads(numbers)), read_columns(kernel, arena, numbers)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, name)


def test_only_a_column_beyond_float32_is_widened(kernel: Kernel, arena: Arena) -> None:
    columns = read_columns(kernel, arena, np.arange(ROWS))
    wide = {name for name, values in columns.items() if values.dtype == np.float64}
    assert wide == {"l1", "min"}
    assert columns["l1"][-1] == 1e300


@pytest.mark.parametrize("numbers", ORDERS.values(), ids=ORDERS)
def test_histogram_bytes_are_the_same(kernel: Kernel, arena: Arena, numbers: np.ndarray) -> None:
    np.testing.assert_array_equal(read_codes(kernel, arena, numbers), codes_of(arena.histograms(numbers)))


@pytest.mark.parametrize("number", [-1, ROWS, ROWS + CHUNK])
def test_a_number_that_was_never_taken_is_refused(kernel: Kernel, arena: Arena, number: int) -> None:
    numbers = np.array([0, number])
    with pytest.raises(IndexError, match=f"of {ROWS}"):
        read_columns(kernel, arena, numbers)
    with pytest.raises(IndexError, match=f"of {ROWS}"):
        read_codes(kernel, arena, numbers)

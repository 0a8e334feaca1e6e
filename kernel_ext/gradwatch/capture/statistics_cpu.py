# pyright: reportPrivateUsage=false
"""Statistics of plain CPU tensors: the C kernel through ctypes, or torch operations where it was not built.

Both write the rows of statistics_rows.py. The tensors must be plain (see statistics_layout.resolve).
`reportPrivateUsage` is off because lazy negation is private in torch.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.statistics_layout import ONE_BYTE, extent_of, unseen
from gradwatch.capture.statistics_rows import (
    CHUNK,
    COUNTS,
    FLOATS,
    HISTOGRAM_BINS,
    ROW,
    Arena,
    code_table,
    named_columns,
    negate_row,
    scale_row,
)
from gradwatch.capture.statistics_torch import BIG_SCALE, SMALL_SCALE, STATE, smallest_normal, torch_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

ABI = 3
HISTOGRAM = 256
"""Or-ed onto a dtype code: with a histogram."""

SMALL = 1 << 14
"""Elements up to which the interpreter lock is kept: a few microseconds, less than getting it back may take
when other threads want it. Longer reads let it go; the caller's reference keeps the tensor alive, and a
program that writes to it from another thread meanwhile races with itself as much as with us."""

_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY = Path(__file__).with_name(f"_statistics{_SUFFIX}")

_TYPES = ["float32", "float64", "bfloat16", "float16", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
CODES: dict[torch.dtype, int] = {getattr(torch, name): k for k, name in enumerate(_TYPES) if hasattr(torch, name)}
CODES_WITH_HISTOGRAM = {dtype: code | HISTOGRAM for dtype, code in CODES.items()}

_POINTER, _INT64, _INT, _DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_double
_ARGUMENTS: dict[str, list[Any]] = {
    "gw_abi": [],
    "gw_statistics": [_POINTER, _INT64, _INT, _POINTER],
    "gw_level": [_POINTER, _INT64, _INT],
    "gw_repeated": [_POINTER, _INT64, _INT, _INT64, _POINTER],
    "gw_statistics_many": [_INT64, _POINTER, _POINTER, _POINTER, _POINTER],
    "gw_strided": [_POINTER, _INT, _POINTER, _POINTER, _INT, _INT64, _POINTER],
    "gw_bytes": [_POINTER, _INT64, _POINTER, _DOUBLE, _INT, _POINTER],
    "gw_sample": [_INT64, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER],
    "gw_columns": [_INT64, _POINTER, _POINTER, _INT64, _POINTER, _POINTER],
    "gw_codes": [_INT64, _POINTER, _POINTER, _INT64, _POINTER, _INT64, _POINTER],
    "gw_update": [_INT64, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER],
}


_HELD = ("statistics", "level", "columns", "codes")
_RELEASING = ("statistics", "level", "repeated", "statistics_many", "strided", "bytes", "sample", "update")


@dataclass(frozen=True, slots=True)
class Kernel:
    """The functions of statistics_kernel.c. Those named `_held` keep the interpreter lock, the others let it go."""

    statistics_held: Callable[..., int]
    level_held: Callable[..., int]
    columns_held: Callable[..., int]
    codes_held: Callable[..., int]
    statistics: Callable[..., int]
    level: Callable[..., int]
    repeated: Callable[..., int]
    many: Callable[..., int]
    strided: Callable[..., int]
    one_byte: Callable[..., int]
    sample: Callable[..., int]
    update: Callable[..., int]


def _function(library: ctypes.CDLL, name: str) -> Callable[..., int]:
    function = getattr(library, name)
    function.argtypes = _ARGUMENTS[name]
    function.restype = ctypes.c_int
    return function


@cache
def load_kernel(path: Path = LIBRARY) -> Kernel | None:
    """Return the compiled kernel, None where there is none that this version can call."""
    if not path.exists():
        return None
    try:
        library, held = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        if _function(library, "gw_abi")() != ABI:
            return None
        return Kernel(
            *(_function(held, f"gw_{name}") for name in _HELD),
            *(_function(library, f"gw_{name}") for name in _RELEASING),
        )
    except (OSError, AttributeError):  # built for another machine, or not ours
        return None


def write_row(tensor: Tensor, row: NDArray[np.void], *, histogram: bool, kernel: Kernel | None) -> None:
    """Write the statistics of a plain CPU tensor into `row`, shape (1,)."""
    if kernel is None or not _call_kernel(kernel, tensor, row, histogram=histogram):
        _write_fallback(tensor, row, histogram=histogram)
    if tensor.is_neg():  # the bytes in memory are those of the negated tensor
        negate_row(row)


def _call_kernel(kernel: Kernel, tensor: Tensor, row: NDArray[np.void], *, histogram: bool) -> bool:
    extent, address, data = extent_of(tensor), row.ctypes.data, tensor.data_ptr()
    flag = HISTOGRAM if histogram else 0
    if tensor.dtype in ONE_BYTE:
        if not extent.dense:
            return False
        table, tiniest = _table(tensor.dtype)
        failed = kernel.one_byte(data, extent.numel, table.ctypes.data, tiniest, flag, address)
        if extent.repeat != 1:
            scale_row(row, extent.repeat)
        return not failed
    return not read_view(kernel, tensor, data, CODES[tensor.dtype] | flag, address)


def read_view(kernel: Kernel, tensor: Tensor, data: int, code: int, address: int) -> int:
    """Read a strided tensor of any layout into the row at `address`. Returns 0 where that went well."""
    extent = extent_of(tensor)
    if extent.dense:
        return kernel.repeated(data, extent.numel, code, extent.repeat, address)
    size, stride = (ctypes.c_int64 * len(extent.size)), (ctypes.c_int64 * len(extent.size))
    return kernel.strided(
        data, len(extent.size), size(*extent.size), stride(*extent.stride), code, extent.repeat, address
    )


def read_columns(kernel: Kernel, arena: Arena, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return what `columns_of` returns, in one pass over these rows. Raises as `Arena.heads`."""
    chunks, rows = arena.pointers(numbers), len(numbers)
    counts, floats = np.empty((len(COUNTS), rows), np.uint64), np.empty((len(FLOATS), rows))
    kernel.columns_held(rows, numbers.ctypes.data, chunks.ctypes.data, CHUNK, counts.ctypes.data, floats.ctypes.data)
    return named_columns(counts, floats)


def read_codes(kernel: Kernel, arena: Arena, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return what `codes_of` returns, in one pass over these rows. Raises as `Arena.heads`."""
    chunks, table, rows = arena.pointers(numbers), code_table(), len(numbers)
    codes = np.empty((rows, HISTOGRAM_BINS), np.uint8)
    kernel.codes_held(
        rows, numbers.ctypes.data, chunks.ctypes.data, CHUNK, table.ctypes.data, len(table), codes.ctypes.data
    )
    return codes


@cache
def _table(dtype: torch.dtype) -> tuple[NDArray[np.float64], float]:
    """Return the value of each of the 256 codes of a one-byte type, and its smallest normal number."""
    with unseen():
        codes = torch.arange(256, dtype=torch.uint8)
        values = (codes != 0) if dtype == torch.bool else codes.view(dtype)
        return np.array(values.to(torch.float32).to(torch.float64).numpy(), np.float64), smallest_normal(dtype)


def _write_fallback(tensor: Tensor, row: NDArray[np.void], *, histogram: bool) -> None:
    with unseen():
        extent = extent_of(tensor)
        stored = tensor._neg_view() if tensor.is_neg() else tensor
        state = torch_state(stored, histogram=histogram).numpy()
    fill_row(row, state, extent.numel, histogram=histogram)
    if extent.repeat != 1:
        scale_row(row, extent.repeat)


def fill_row(row: NDArray[np.void], state: NDArray[np.float64], count: int, *, histogram: bool) -> None:
    """Write a STATE and its histogram counts (see statistics_torch) into `row`."""
    values = dict(zip(STATE, state.tolist(), strict=False))
    finite = count - values["nan"] - values["inf"]
    row["count"] = count
    for name in ("zeros", "nan", "inf", "subnormals"):
        row[name] = int(values[name])
    for name in ("min", "max"):
        row[name] = values[name] if finite else np.nan
    row["sum"], row["l1"] = values["sum"], values["l1"]
    with np.errstate(over="ignore"):  # a norm beyond the range of float64 is Inf
        wide = np.hypot(np.sqrt(values["big"]) / BIG_SCALE, np.sqrt(values["small"]) / SMALL_SCALE)
        row["l2"] = np.hypot(np.sqrt(values["squares"]), wide)
    row["has_histogram"] = int(histogram)
    row["histogram"] = state[len(STATE) :].astype(np.uint64)


assert ROW.itemsize == 8 * (11 + 64)  # noqa: S101 - struct row of the C kernel

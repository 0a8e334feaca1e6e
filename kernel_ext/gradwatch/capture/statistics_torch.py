"""Statistics in torch operations, block by block: where the C kernel or Triton is not available.

Works on any device without waiting for it. Temporaries are bounded by the block, not by the tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradwatch.capture.statistics_layout import FLOATS, ONE_BYTE, extent_of
from gradwatch.records import HISTOGRAM_BINS, HISTOGRAM_LOWEST_EXPONENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

BLOCK = {"cpu": 1 << 16, "cuda": 1 << 20}
"""Elements: on a GPU temporaries of 8 bytes for each, some ten at once, come and go beside what the program holds."""

STATE = ("zeros", "nan", "inf", "subnormals", "min", "max", "sum", "l1", "squares", "big", "small")
"""Sums of one tensor, before its histogram. Squares are kept in three ranges (big: of x * 2^-600, small: of
x * 2^600), so that none over- or underflows."""

BIG_SCALE = 2.0**-600
SMALL_SCALE = 2.0**600
_INFINITY_BITS = 0x7FF0000000000000
_MAGNITUDE = 0x7FFFFFFFFFFFFFFF


def smallest_normal(dtype: torch.dtype) -> float:
    """Return the smallest normal number of a float type, 0 for integers."""
    return torch.finfo(dtype).smallest_normal if dtype.is_floating_point else 0.0


def blocks_of(tensor: Tensor) -> Iterator[Tensor]:
    """Yield one-dimensional pieces that together hold each distinct element of `tensor` once."""
    extent = extent_of(tensor)
    if extent.numel:
        limit = BLOCK[tensor.device.type]
        if extent.dense:
            flat = tensor.as_strided((extent.numel,), (1,))
            yield from (flat[start : start + limit] for start in range(0, extent.numel, limit))
        else:
            yield from _pieces(tensor.as_strided(extent.size, extent.stride), limit)


def _pieces(tensor: Tensor, limit: int) -> Iterator[Tensor]:
    if tensor.numel() <= limit:
        yield tensor.reshape(-1)
        return
    longest = max(range(tensor.dim()), key=tensor.size)
    for half in tensor.chunk(2, longest):
        yield from _pieces(half, limit)


def torch_state(tensor: Tensor, *, histogram: bool) -> Tensor:
    """Return the STATE of a plain tensor, then its 64 histogram counts: float64, on the tensor's device.

    Repeated and negated elements are the caller's to put right. Counts are exact up to 2^53.
    """
    tiniest = smallest_normal(tensor.dtype)
    total: Tensor | None = None
    for block in blocks_of(tensor):
        state = _block_state(_widen(block), tiniest, histogram=histogram)
        total = state if total is None else _add_states(total, state)
    if total is None:
        total = torch.zeros(len(STATE) + HISTOGRAM_BINS, dtype=torch.float64, device=tensor.device)
        total[4], total[5] = torch.inf, -torch.inf
    return total


def _widen(block: Tensor) -> Tensor:
    if block.dtype in FLOATS or block.dtype not in ONE_BYTE or not block.dtype.is_floating_point:
        return block.to(torch.float64)
    return block.to(torch.float32).to(torch.float64)


def _block_state(x: Tensor, tiniest: float, *, histogram: bool) -> Tensor:
    bits = x.view(torch.int64) & _MAGNITUDE
    finite = bits < _INFINITY_BITS
    y = torch.where(finite, x, 0.0)
    size = y.abs()
    largest = size.max()
    is_big, is_small = largest > 2.0**480, largest < 2.0**-440
    big, small = largest.new_full((), BIG_SCALE), largest.new_full((), SMALL_SCALE)
    scale = torch.where(is_big, big, torch.where(is_small, small, 1.0))
    squares = (y * scale).square().sum()
    parts = [
        (bits == 0).sum(),
        (bits > _INFINITY_BITS).sum(),
        (bits == _INFINITY_BITS).sum(),
        ((size > 0) & (size < tiniest)).sum(),
        torch.where(finite, x, torch.inf).min(),
        torch.where(finite, x, -torch.inf).max(),
        y.sum(),
        size.sum(),
        torch.where(is_big | is_small, 0.0, squares),
        torch.where(is_big, squares, 0.0),
        torch.where(is_small, squares, 0.0),
    ]
    state = torch.stack([part.to(torch.float64) for part in parts])
    counts = _histogram(bits, finite & (bits != 0)) if histogram else state.new_zeros(HISTOGRAM_BINS)
    return torch.cat([state, counts])


def _histogram(bits: Tensor, counted: Tensor) -> Tensor:
    exponents = (bits >> 52) - (1023 + HISTOGRAM_LOWEST_EXPONENT)
    bins = torch.where(counted, exponents.clamp(0, HISTOGRAM_BINS - 1), HISTOGRAM_BINS).to(torch.uint8)
    if bins.is_cpu:
        return torch.bincount(bins, minlength=HISTOGRAM_BINS + 1)[:HISTOGRAM_BINS].to(torch.float64)
    return count_by_sorting(bins)


def count_by_sorting(bins: Tensor) -> Tensor:
    """Count what bincount counts, which would wait for a GPU and is refused in deterministic mode."""
    edges = torch.arange(HISTOGRAM_BINS + 1, device=bins.device, dtype=torch.uint8)
    places = torch.searchsorted(bins.sort().values, edges)
    return places.diff().to(torch.float64)


def _add_states(a: Tensor, b: Tensor) -> Tensor:
    total = a + b
    total[4] = torch.minimum(a[4], b[4])
    total[5] = torch.maximum(a[5], b[5])
    return total

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""The fused kernel, in Triton: reads a tensor once and adds to one slot of statistics_cuda.py.

The reports that are off are about Triton, which is untyped and, without a GPU, often absent.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1024
TILES = 16  # blocks a program reads: additions in float32 before its sums go on in float64
WARPS = 8
GROUP = 16  # elements; what is left of a tensor behind its last full group has a launch of its own


@triton.jit(do_not_specialize=["groups", "place", "smallest"])
def _statistics(  # noqa: PLR0913, PLR0915, PLR0917, ANN202 - a kernel: pointers and constants, one straight pass
    values,  # noqa: ANN001 - Triton types its arguments itself
    groups,  # noqa: ANN001
    words,  # noqa: ANN001
    reals,  # noqa: ANN001
    place,  # noqa: ANN001
    smallest,  # noqa: ANN001
    GROUP: tl.constexpr,  # noqa: N803 - Triton's way to spell constants
    IS_BFLOAT16: tl.constexpr,  # noqa: N803
    IS_WIDE: tl.constexpr,  # noqa: N803
    WITH_HISTOGRAM: tl.constexpr,  # noqa: N803
    SIZE: tl.constexpr,  # noqa: N803
    REPEATS: tl.constexpr,  # noqa: N803
):
    lanes = tl.arange(0, SIZE)
    start = tl.program_id(0).to(tl.int64) * (SIZE * REPEATS)
    kind = tl.float64 if IS_WIDE else tl.float32
    zeros = tl.zeros([SIZE], tl.int32)
    nan = tl.zeros([SIZE], tl.int32)
    inf = tl.zeros([SIZE], tl.int32)
    below = tl.zeros([SIZE], tl.int32)
    low = tl.full([SIZE], float("inf"), kind)
    high = tl.full([SIZE], float("-inf"), kind)
    total = tl.zeros([SIZE], kind)
    size = tl.zeros([SIZE], kind)
    squares = tl.zeros([SIZE], kind)
    big_total = tl.zeros([SIZE], kind)
    big_size = tl.zeros([SIZE], kind)
    big_squares = tl.zeros([SIZE], kind)
    small_squares = tl.zeros([SIZE], kind)
    counts = tl.zeros([64], tl.int32)
    for tile in range(REPEATS):
        at = start + tile * SIZE + lanes
        inside = at < groups.to(tl.int64) * GROUP  # a multiple that the compiler knows: it loads vectors
        stored = tl.load(values + at, mask=inside, other=0)
        # A bfloat16 is the upper half of a float32: no conversion that may flush denormals.
        x = (stored.to(tl.int32) << 16).to(tl.float32, bitcast=True) if IS_BFLOAT16 else stored.to(kind)
        a = tl.abs(x)
        if IS_WIDE:
            bits = x.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
            from_inf = bits >= 0x7FF0000000000000
            is_inf = bits == 0x7FF0000000000000
            exponent = (bits >> 52).to(tl.int32) - 976
            is_big = a > 2.0**480
            is_small = a < 2.0**-440
            big = x * 2.0**-600
            small = x * 2.0**600
        else:
            bits = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
            from_inf = bits >= 0x7F800000
            is_inf = bits == 0x7F800000
            exponent = (bits >> 23) - 80
            is_big = a > 2.0**56
            is_small = a < 2.0**-56
            big = x * 2.0**-70
            small = x * 2.0**100
        finite = inside & (~from_inf)
        zeros += (inside & (bits == 0)).to(tl.int32)
        nan += (inside & from_inf & (~is_inf)).to(tl.int32)
        inf += (inside & is_inf).to(tl.int32)
        below += (finite & (bits != 0) & (bits < smallest)).to(tl.int32)
        low = tl.minimum(low, tl.where(finite, x, float("inf")))
        high = tl.maximum(high, tl.where(finite, x, float("-inf")))
        is_big = is_big & finite
        middle = finite & (~is_big)
        y = tl.where(middle, x, 0.0)
        total += y
        size += tl.abs(y)
        square = tl.where(is_small, 0.0, y)
        squares += square * square
        big = tl.where(is_big, big, 0.0)
        big_total += big
        big_size += tl.abs(big)
        big_squares += big * big
        small = tl.where(middle & is_small, small, 0.0)
        small_squares += small * small
        if WITH_HISTOGRAM:
            counted = finite & (bits != 0)
            bins = tl.where(counted, tl.minimum(tl.maximum(exponent, 0), 63), 0)
            # What does not count falls into bin 0 and is taken out again: tl.histogram has no mask
            # before Triton 3.4.
            left_out = tl.sum((~counted).to(tl.int32), 0)
            counts += tl.histogram(bins, 64) - tl.where(tl.arange(0, 64) == 0, left_out, 0)
    slot = words + place.to(tl.int64) * 75
    sums = reals + place.to(tl.int64) * 75
    tl.atomic_add(slot + 0, tl.sum(zeros, 0).to(tl.int64))
    tl.atomic_add(slot + 1, tl.sum(nan, 0).to(tl.int64))
    tl.atomic_add(slot + 2, tl.sum(inf, 0).to(tl.int64))
    tl.atomic_add(slot + 3, tl.sum(below, 0).to(tl.int64))
    # Atomics on floats are wrong about signs: min and max go in as integers that order like the doubles.
    low_bits = tl.min(low, 0).to(tl.float64).to(tl.int64, bitcast=True)
    high_bits = tl.max(high, 0).to(tl.float64).to(tl.int64, bitcast=True)
    tl.atomic_min(slot + 4, low_bits ^ ((low_bits >> 63) & 0x7FFFFFFFFFFFFFFF))
    tl.atomic_max(slot + 5, high_bits ^ ((high_bits >> 63) & 0x7FFFFFFFFFFFFFFF))
    total_sum = tl.sum(total.to(tl.float64), 0)
    size_sum = tl.sum(size.to(tl.float64), 0)
    squares_sum = tl.sum(squares.to(tl.float64), 0)
    big_total_sum = tl.sum(big_total.to(tl.float64), 0)
    big_size_sum = tl.sum(big_size.to(tl.float64), 0)
    big_sum = tl.sum(big_squares.to(tl.float64), 0)
    small_sum = tl.sum(small_squares.to(tl.float64), 0)
    if IS_WIDE:
        scale = tl.full([], 2.0**600, tl.float64)
        tl.atomic_add(sums + 6, total_sum + big_total_sum * scale)
        tl.atomic_add(sums + 7, size_sum + big_size_sum * scale)
        tl.atomic_add(sums + 8, squares_sum)
        tl.atomic_add(sums + 9, big_sum)
        tl.atomic_add(sums + 10, small_sum)
    else:  # every square of a float32 fits float64
        scale = tl.full([], 2.0**70, tl.float64)
        shrink = tl.full([], 2.0**-200, tl.float64)
        tl.atomic_add(sums + 6, total_sum + big_total_sum * scale)
        tl.atomic_add(sums + 7, size_sum + big_size_sum * scale)
        tl.atomic_add(sums + 8, squares_sum + big_sum * scale * scale + small_sum * shrink)
    if WITH_HISTOGRAM:
        tl.atomic_add(slot + 11 + tl.arange(0, 64), counts.to(tl.int64))


def launch(values: Tensor, slot: tuple[Tensor, Tensor], place: int, tiniest: float, *, histogram: bool) -> None:
    """Add the statistics of contiguous `values` to slot `place`, on the current stream. Does not wait.

    `slot` is the table of slots, as int64 and as float64; `tiniest` the smallest normal number of the type
    that `values` had before they were widened.
    """
    wide, half = values.dtype == torch.float64, values.dtype == torch.bfloat16
    values = values.view(torch.int16) if half else values
    smallest: int = struct.unpack("<q", struct.pack("<d", tiniest))[0] if wide else _float32_bits(tiniest)
    whole = values.numel() // GROUP * GROUP
    for start, end, group in ((0, whole, GROUP), (whole, values.numel(), 1)):
        if start < end:
            grid = (triton.cdiv(end - start, BLOCK * TILES),)
            constants = (group, half, wide, histogram, BLOCK, TILES)
            counts = ((end - start) // group, *slot, place, smallest)
            _statistics[grid](values[start:end], *counts, *constants, num_warps=WARPS, enable_fp_fusion=True)


def _float32_bits(value: float) -> int:
    return struct.unpack("<i", struct.pack("<f", value))[0]

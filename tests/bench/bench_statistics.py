"""Prints what statistics read per second, beside `x.sum()` of the same tensor, on one thread.

Timings are interleaved and the best of several rounds is kept, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch

from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_cpu import load_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def seconds(what: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        what()
    return (time.perf_counter() - start) / repeats


def measure(x: torch.Tensor, rounds: int, *, in_torch: bool) -> list[float]:
    """Return the best seconds a call of `x.sum()`, statistics, and statistics with histogram."""
    tables = [StatisticRows(histogram=histogram) for histogram in (False, True)]
    if in_torch:
        tables = [StatisticRows(histogram=histogram, kernel=None) for histogram in (False, True)]
    calls: list[Callable[[], object]] = [x.sum, *(lambda table=table: table.add(x) for table in tables)]
    repeats = max(1, min(1000, 1_000_000 // x.numel()))
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for table in tables:
            table.clear()
        best = [min(old, seconds(call, repeats)) for old, call in zip(best, calls, strict=True)]
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--torch", action="store_true", help="measure the torch operations, not the kernel")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, kernel {'found' if load_kernel() else 'not built'}")
    print(f"{'dtype':>9} {'elements':>9} {'sum GB/s':>9} {'statistics':>16} {'with histogram':>16} {'us':>9} {'us':>9}")
    for dtype in DTYPES:
        for size in SIZES:
            x = (torch.randn(size) * 1e-3).to(dtype)
            total, plain, histogram = measure(x, options.rounds, in_torch=options.torch)
            speed = x.numel() * x.element_size() / 1e9
            print(
                f"{str(dtype)[6:]:>9} {size:>9} {speed / total:>9.1f}"
                f" {speed / plain:>8.1f} ({total / plain:.2f}x) {speed / histogram:>8.1f} ({total / histogram:.2f}x)"
                f" {plain * 1e6:>9.1f} {histogram * 1e6:>9.1f}"
            )


if __name__ == "__main__":
    main()

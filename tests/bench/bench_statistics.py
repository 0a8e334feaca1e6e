"""How fast statistics are read, as a share of `x.sum()` of the same tensor, on one thread and on two.

A plain read is the floor: nothing can look at every value faster. Timings of a round are interleaved, so that a busy
machine disturbs both alike; each share is of one round, the table gives their median.

    python tests/bench/bench_statistics.py [--rounds N] [--torch] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch

sys.path[:0] = [str(Path(__file__).parents[2] / "kernel_ext")]

from figures import Figure, table, write  # noqa: E402  # beside this file

from gradwatch.capture.statistics import StatisticRows  # noqa: E402  # found through the path just set
from gradwatch.capture.statistics_cpu import load_kernel  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
DTYPES = (torch.float32, torch.bfloat16)
THREADS = (1, 2)
WANTED = 0.8
BUSY_S = 0.02
"""At least so long is each call repeated for one time."""


def main() -> None:
    arguments = _arguments()
    figures: list[Figure] = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        for dtype in DTYPES:
            for size in SIZES:
                figures += measure(size, dtype, threads, arguments)
    print(f"torch {torch.__version__}, kernel {'found' if load_kernel() else 'not built'}\n")
    print(table(figures))
    write(arguments.json, figures, torch=str(torch.__version__), rounds=arguments.rounds)


def measure(size: int, dtype: torch.dtype, threads: int, arguments: argparse.Namespace) -> list[Figure]:
    """Shares of `x.sum()`'s speed, with and without a histogram, and how many GB/s it reads itself."""
    x = torch.empty(size, dtype=dtype).normal_(std=1e-3)
    kernel = None if arguments.torch else "compiled"
    rows = {name: StatisticRows(histogram=name != "statistics", kernel=kernel) for name in NAMES}
    shares: dict[str, list[float]] = {name: [] for name in NAMES}
    speeds: list[float] = []
    for _ in range(arguments.rounds):
        total = _seconds(x.sum)
        speeds.append(x.numel() * x.element_size() / total / 1e9)
        for name, each in rows.items():
            each.clear()
            shares[name].append(total / _seconds(lambda each=each: each.add(x)))
    on = f"{size:.0e} {str(dtype).removeprefix('torch.')}, {threads} thread{'s' * (threads > 1)}"
    found = [Figure.of(name, on, values, wanted=WANTED, more_is_better=True) for name, values in shares.items()]
    return [Figure.of("x.sum()", on, speeds, unit="GB/s"), *found]


NAMES = ("statistics", "statistics with histogram")


def _seconds(call: Callable[[], object]) -> float:
    """Seconds of one call, over as many as fill BUSY_S."""
    start = perf_counter()
    call()
    repeats = max(1, int(BUSY_S / (perf_counter() - start)))
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="of each time (default: 15)")
    parser.add_argument("--torch", action="store_true", help="measure the torch operations, not the kernel")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

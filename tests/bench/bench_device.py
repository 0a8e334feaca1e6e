"""What recording costs on a CUDA device: step time, memory added there, and how fast statistics are read.

GPT-2 with 124M parameters (B=8, T=1024, bfloat16 autocast) and a launch-bound size, blocks of recorded and unrecorded
steps in turns, each ended by one synchronisation outside of the recorded part. Memory is the peak of torch's allocator,
which is reset before each block. Synchronisations are those that torch itself warns of. Exits with status 77 where
there is no CUDA device.

    python tests/bench/bench_device.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import torch

sys.path[:0] = [str(Path(__file__).parents[2] / "kernel_ext")]

from device_models import GptSize, Program  # noqa: E402  # beside this file
from figures import Figure, table, write  # noqa: E402  # as above

import gradwatch  # noqa: E402  # found through the path just set
from gradwatch.capture.statistics import StatisticRows  # noqa: E402  # as above
from gradwatch.records import Detail  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable

DETAILS: tuple[Detail, ...] = get_args(Detail)
WANTED = dict(zip(DETAILS, (1.01, 1.02, 1.05), strict=True))
WARM_UP_STEPS = 4
NOT_HERE = 77
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
READS = 50


@dataclass(frozen=True)
class Size:
    """A program on the device, and timed steps a block."""

    name: str
    size: GptSize
    steps: int


PROGRAMS = (
    Size("GPT-2 124M, CUDA", GptSize(), 10),
    Size("launch-bound gpt, CUDA", GptSize(layers=6, width=32, heads=4, positions=16, batch=2, vocabulary=100), 20),
)


@dataclass(frozen=True)
class Block:
    """Mean step of a block in seconds, and the peak of its device memory in bytes."""

    seconds: float
    peak: int


def main() -> int:
    arguments = _arguments()
    if not torch.cuda.is_available():
        print("no CUDA device is visible to torch", file=sys.stderr)
        return NOT_HERE
    figures = [figure for size in PROGRAMS for figure in measure(size, arguments.rounds)]
    figures += [figure for dtype in (torch.float32, torch.bfloat16) for figure in reading(dtype, arguments.rounds)]
    device = torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {device}, {arguments.rounds} rounds\n")
    print(table(figures))
    write(arguments.json, figures, torch=str(torch.__version__), device=device, rounds=arguments.rounds)
    return 0


def measure(size: Size, rounds: int) -> list[Figure]:
    """Ratios, added memory and synchronisations of one program."""
    program = Program(size.size)
    alone = [_block(program, size.steps)]
    ratios: dict[Detail, list[float]] = {detail: [] for detail in DETAILS}
    added: dict[Detail, list[float]] = {detail: [] for detail in DETAILS}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for detail in DETAILS:
                with gradwatch.watch(program.model, Path(directory, "x.gradwatch"), detail=detail, overwrite=True):
                    block = _block(program, size.steps)
                alone.append(_block(program, size.steps))
                ratios[detail].append(block.seconds / statistics.mean(each.seconds for each in alone[-2:]))
                added[detail].append((block.peak - max(each.peak for each in alone[-2:])) / 2**20)
        waits = {detail: synchronisations(program, Path(directory, "y.gradwatch"), detail) for detail in DETAILS}
    watched = sum(1 for _ in program.model.parameters()) + 2 * sum(1 for _ in program.model.modules())
    figures = [Figure.of("step alone", size.name, [1e3 * each.seconds for each in alone], unit="ms")]
    for detail in DETAILS:
        figures += [
            Figure.of(detail, size.name, ratios[detail], wanted=WANTED[detail]),
            Figure.of(f"{detail}: peak memory added", size.name, added[detail], unit="MiB", wanted=1 + watched / 1024),
            Figure.of(f"{detail}: synchronisations a step", size.name, [waits[detail]], unit="", wanted=0),
        ]
    return figures


def _block(program: Program, steps: int) -> Block:
    for _ in range(WARM_UP_STEPS):
        program.step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = perf_counter()
    for _ in range(steps):
        program.step()
    torch.cuda.synchronize()
    return Block((perf_counter() - start) / steps, torch.cuda.max_memory_allocated())


def synchronisations(program: Program, path: Path, detail: Detail) -> float:
    """Those that torch warns of in a recorded step, less those of an unrecorded one."""
    alone = _warnings_of(program)
    with gradwatch.watch(program.model, path, detail=detail, overwrite=True):
        for _ in range(WARM_UP_STEPS):
            program.step()
        return _warnings_of(program) - alone


def _warnings_of(program: Program) -> float:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            program.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in seen)


def reading(dtype: torch.dtype, rounds: int) -> list[Figure]:
    """How fast statistics with histograms are read, as a share of the speed of a copy on the device.

    A copy moves each byte twice, once in and once out; reading moves it once. Shares are of bytes moved per second.
    """
    figures: list[Figure] = []
    for size in SIZES:
        x = torch.empty(size, dtype=dtype, device="cuda").normal_(std=1e-3)
        target, rows = torch.empty_like(x), StatisticRows(histogram=True)
        shares: list[float] = []
        for _ in range(rounds):
            copy = _device_seconds(lambda x=x, target=target: target.copy_(x))
            rows.clear()
            shares.append((copy / 2) / _device_seconds(lambda x=x, rows=rows: rows.add(x)))
        on = f"{size:.0e} {str(dtype).removeprefix('torch.')}, CUDA"
        figures.append(Figure.of("statistics with histogram", on, shares, wanted=0.8, more_is_better=True))
    return figures


def _device_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call on the device, by its own clock."""
    call()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(READS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / READS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="recorded blocks of each detail (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

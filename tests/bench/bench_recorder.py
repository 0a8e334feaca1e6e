"""How much longer a training step takes while it is recorded, by detail, on small programs of six kinds.

Blocks of recorded steps alternate with blocks of unrecorded ones in one process. A ratio is the median step of a
recorded block over the mean of its two unrecorded neighbours'; the table gives the median of the ratios and the
middle half of them. Times are wall-clock. Run alone on the machine:

    python tests/bench/bench_recorder.py [--rounds N] [--only NAME] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

import gradwatch  # noqa: E402  # found through the path just set
from gradwatch.records import Detail  # noqa: E402  # as above
from models import GptSize, convnet, gpt, lstm, lstm_cell, mlp  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable

    from models import Program

DETAILS: tuple[Detail, ...] = get_args(Detail)
JSON_VERSION = 1
WARM_UP_STEPS = 3
"""Steps at the start of a block that are not timed: the first one writes names, sources and the graph."""


@dataclass(frozen=True)
class Size:
    """A program, its number of threads, and timed steps a block."""

    name: str
    build: Callable[[], Program]
    steps: int
    threads: int = 1


def _launch_bound_gpt() -> Program:
    return gpt(GptSize(layers=6, width=32, positions=16, batch=2))


def _gpt() -> Program:
    return gpt(GptSize(layers=6, width=384, positions=256, batch=2, heads=6, vocabulary=5000))


SIZES = (
    Size("launch-bound gpt", _launch_bound_gpt, steps=20),
    Size("lstm_cell loop", lambda: lstm_cell(width=128, length=64, batch=8), steps=8),
    Size("mlp", lambda: mlp(width=512, depth=8, batch=256), steps=8),
    Size("convnet", lambda: convnet(channels=32, size=32, batch=32), steps=6),
    Size("lstm", lambda: lstm(width=256, length=64, batch=16), steps=6),
    Size("gpt", _gpt, steps=3),
)
"""The first two are bound by launches: thousands of tiny operations. The others are bound by arithmetic."""


@dataclass(frozen=True)
class Result:
    """Ratios of one size and detail: their median, first and third quartile; and what the recorder says of itself."""

    size: str
    detail: Detail
    step_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    own_cost_share: float
    bytes_per_step: float


@dataclass(frozen=True)
class Block:
    """Median step of a block in seconds, the share of it spent in the recorder's hooks, and its file's bytes a step."""

    seconds: float
    cost_share: float = 0.0
    bytes_per_step: float = 0.0


def main() -> None:
    arguments = _arguments()
    chosen = [size for size in SIZES if arguments.only in size.name]
    results = [result for size in chosen for result in measure(size, arguments.rounds)]
    print(f"torch {torch.__version__}, {arguments.rounds} rounds\n")
    print(f"{'size':16} {'detail':11} {'step ms':>8} {'ratio':>6}  {'middle half':13} {'own':>6} {'bytes/step':>11}")
    for each in results:
        spread = f"{each.ratio_low:.2f} to {each.ratio_high:.2f}"
        print(
            f"{each.size:16} {each.detail:11} {each.step_ms:8.2f} {each.ratio:6.2f}  {spread:13} "
            f"{each.own_cost_share:6.1%} {each.bytes_per_step:11,.0f}"
        )
    if arguments.json:
        content = {
            "version": JSON_VERSION,
            "torch": str(torch.__version__),
            "rounds": arguments.rounds,
            "results": [asdict(each) for each in results],
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def measure(size: Size, rounds: int) -> list[Result]:
    """Measure all details at one size."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(size.threads)
    program = size.build()
    _timed(program, size.steps)  # warms torch up
    blocks: dict[Detail, list[tuple[float, Block]]] = {detail: [] for detail in DETAILS}
    alone: list[float] = [_timed(program, size.steps)]
    with tempfile.TemporaryDirectory() as directory:
        for round_number in range(rounds):
            for detail in DETAILS:
                block = _recorded(program, size.steps, detail, Path(directory, f"{round_number}-{detail}.gradwatch"))
                alone.append(_timed(program, size.steps))
                blocks[detail].append((block.seconds / statistics.mean(alone[-2:]), block))
    torch.set_num_threads(threads_before)
    return [_result(size, detail, found, statistics.median(alone)) for detail, found in blocks.items()]


def _timed(program: Program, steps: int) -> float:
    """Train for a block; return the median step in seconds."""
    for _ in range(WARM_UP_STEPS):
        program.step()
    times: list[float] = []
    for _ in range(steps):
        start = perf_counter()
        program.step()
        times.append(perf_counter() - start)
    return statistics.median(times)


def _recorded(program: Program, steps: int, detail: Detail, path: Path) -> Block:
    with gradwatch.watch(program.model, path, detail=detail):
        seconds = _timed(program, steps)
    with gradwatch.open(path) as session:
        timed = session.steps[WARM_UP_STEPS:]
        cost = statistics.median(step.cost_ns for step in timed) / 1e9
    size = path.stat().st_size / (steps + WARM_UP_STEPS)
    path.unlink()
    return Block(seconds, cost / seconds, size)


def _result(size: Size, detail: Detail, found: list[tuple[float, Block]], alone: float) -> Result:
    ratios = [ratio for ratio, _ in found]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Result(
        size=size.name,
        detail=detail,
        step_ms=1e3 * alone,
        ratio=statistics.median(ratios),
        ratio_low=low,
        ratio_high=high,
        own_cost_share=statistics.median(block.cost_share for _, block in found),
        bytes_per_step=statistics.median(block.bytes_per_step for _, block in found),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="recorded blocks of each detail (default: 15)")
    parser.add_argument("--only", default="", metavar="NAME", help="programs with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

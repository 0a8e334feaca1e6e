"""How much longer a training step takes while it is recorded, by detail, on small programs of six kinds.

Blocks of recorded steps alternate with blocks of unrecorded ones in one process. A ratio is the median step of a
recorded block over the mean of its two unrecorded neighbours'; the table gives the median of the ratios and the
middle half of them. Times are wall-clock. Beside them the floors, in the same blocks: what hooks cost that do nothing,
at the places where a recorder in Python has to be. Run alone on the machine:

    python tests/bench/bench_recorder.py [--rounds N] [--only NAME] [--json FILE]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

from figures import Figure, table, write  # noqa: E402  # beside this file

import gradwatch  # noqa: E402  # found through the path just set
from gradwatch.records import Detail  # noqa: E402  # as above
from models import GptSize, convnet, gpt, lstm, lstm_cell, mlp  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from models import Program

DETAILS: tuple[Detail, ...] = get_args(Detail)
WARM_UP_STEPS = 3
"""Steps at the start of a block that are not timed: the first one writes names, sources and the graph."""


@dataclass(frozen=True)
class Size:
    """A program, timed steps a block, and the ratios that are wanted of it, by detail."""

    name: str
    build: Callable[[], Program]
    steps: int
    wanted: tuple[float, float, float]
    threads: int = 1


LAUNCH_BOUND, TINY_NODES, COMPUTE_BOUND = (1.05, 1.25, 1.5), (1.02, 1.20, 1.45), (1.01, 1.02, 1.04)


def _launch_bound_gpt() -> Program:
    return gpt(GptSize(layers=6, width=32, positions=16, batch=2))


def _gpt() -> Program:
    return gpt(GptSize(layers=6, width=384, positions=256, batch=2, heads=6, vocabulary=5000))


SIZES = (
    Size("launch-bound gpt", _launch_bound_gpt, 20, LAUNCH_BOUND),
    Size("lstm_cell loop", lambda: lstm_cell(width=128, length=64, batch=8), 8, TINY_NODES),
    Size("mlp", lambda: mlp(width=512, depth=8, batch=256), 8, COMPUTE_BOUND),
    Size("convnet", lambda: convnet(channels=32, size=32, batch=32), 6, COMPUTE_BOUND),
    Size("lstm", lambda: lstm(width=256, length=64, batch=16), 6, COMPUTE_BOUND),
    Size("gpt", _gpt, 3, COMPUTE_BOUND),
)
"""The first two are bound by launches: thousands of tiny operations. The others are bound by arithmetic."""


@dataclass(frozen=True)
class Block:
    """Median step of a block in seconds, the share of it spent in the recorder's hooks, and its file's bytes a step."""

    seconds: float
    cost_share: float = 0.0
    bytes_per_step: float = 0.0


def main() -> None:
    arguments = _arguments()
    chosen = [size for size in SIZES if arguments.only in size.name]
    figures = [figure for size in chosen for figure in measure(size, arguments.rounds)]
    print(f"torch {torch.__version__}, {arguments.rounds} rounds\n")
    print(table(figures))
    write(arguments.json, figures, torch=str(torch.__version__), rounds=arguments.rounds)


def measure(size: Size, rounds: int) -> list[Figure]:
    """Measure all details and floors at one size."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(size.threads)
    program = size.build()
    _timed(program, size.steps)  # warms torch up
    blocks: dict[str, list[tuple[float, Block]]] = {name: [] for name in (*DETAILS, *FLOORS)}
    alone: list[float] = [_timed(program, size.steps)]
    with tempfile.TemporaryDirectory() as directory:
        for round_number in range(rounds):
            for name, measured in blocks.items():
                block = _block(program, size.steps, name, Path(directory, f"{round_number}-{name}.gradwatch"))
                alone.append(_timed(program, size.steps))
                measured.append((block.seconds / statistics.mean(alone[-2:]), block))
    torch.set_num_threads(threads_before)
    return _figures(size, blocks, alone)


def _block(program: Program, steps: int, name: str, path: Path) -> Block:
    if name in FLOORS:
        with FLOORS[name]():
            return Block(_timed(program, steps))
    return _recorded(program, steps, next(detail for detail in DETAILS if detail == name), path)


@contextmanager
def _module_hooks() -> Generator[None]:
    handles = [register_module_forward_pre_hook(_nothing), register_module_forward_hook(_nothing)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _nothing(*_: object) -> None:
    pass


def _pack_hooks() -> saved_tensors_hooks:
    return saved_tensors_hooks(_same, _same)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


FLOORS = {"floor: empty module hooks": _module_hooks, "floor: empty pack hooks": _pack_hooks}


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


def _figures(size: Size, blocks: dict[str, list[tuple[float, Block]]], alone: list[float]) -> list[Figure]:
    found = [Figure.of("step alone", size.name, [1e3 * seconds for seconds in alone], unit="ms")]
    wanted: dict[str, float] = dict(zip(DETAILS, size.wanted, strict=True))
    for name, measured in blocks.items():
        ratios = [ratio for ratio, _ in measured]
        found.append(Figure.of(name, size.name, ratios, wanted=wanted.get(name)))
        if name in wanted:
            shares = [100 * block.cost_share for _, block in measured]
            sizes = [block.bytes_per_step for _, block in measured]
            found.append(Figure.of(f"{name}: measured by the recorder itself", size.name, shares, unit="%"))
            found.append(Figure.of(f"{name}: file", size.name, sizes, unit="B/step"))
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="recorded blocks of each detail (default: 15)")
    parser.add_argument("--only", default="", metavar="NAME", help="programs with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

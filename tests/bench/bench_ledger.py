"""Time and memory of the ledger of a graph that has saved a million tensors: whether both grow in proportion.

The graph is wide, not deep: many short chains of products, whose factors autograd saves, added up. Each size is read in
a process of its own, whose peak resident memory before and after tells what reading has added.

    python tests/bench/bench_ledger.py [--most N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch

sys.path[:0] = [str(Path(__file__).parents[2] / "kernel_ext")]

from figures import Figure, table, write  # noqa: E402  # beside this file

from gradwatch.capture.graph import roots_of, walk  # noqa: E402  # found through the path just set
from gradwatch.capture.ledger import read_saved  # noqa: E402  # as above

CHAIN = 50
"""Products in a chain; each saves both of its factors."""


@dataclass(frozen=True)
class Reading:
    """Of one graph: how many tensors it saved, seconds of walking it and of reading them, and bytes added by both."""

    saved: int
    walk_s: float
    read_s: float
    added_bytes: int


def main() -> None:
    arguments = _arguments()
    if arguments.saved:
        print(json.dumps(asdict(read(arguments.saved))))
        return
    sizes = [arguments.most // 10, arguments.most]
    few, many = (_in_a_process(size) for size in sizes)
    figures = _figures(few, many)
    print(table(figures))
    write(arguments.json, figures, torch=str(torch.__version__))


def _figures(few: Reading, many: Reading) -> list[Figure]:
    on = f"{many.saved:,} saved tensors"
    slower = (many.read_s / many.saved) / (few.read_s / few.saved)
    return [
        Figure.of("memory a saved tensor", on, [many.added_bytes / many.saved], unit="B", wanted=200),
        Figure.of(f"time a saved tensor, over that at {few.saved:,}", on, [slower], wanted=1.3),
        Figure.of("walk and ledger, a saved tensor", on, [1e6 * (many.walk_s + many.read_s) / many.saved], unit="us"),
        Figure.of("floor: the walk alone", on, [1e6 * many.walk_s / many.saved], unit="us"),
    ]


def read(count: int) -> Reading:
    """Build a graph that saves `count` tensors and read its ledger."""
    loss = _graph(count)
    before = _peak_bytes()
    start = perf_counter()
    walked = walk(roots_of([loss]))
    seen = perf_counter()
    rows = read_saved(walked.nodes)
    end = perf_counter()
    return Reading(len(rows.entries), seen - start, end - seen, _peak_bytes() - before)


def _graph(count: int) -> torch.Tensor:
    weight = torch.ones(1, requires_grad=True)
    total = weight
    for _ in range(max(1, count // (2 * CHAIN))):
        x = weight * weight
        for _ in range(CHAIN - 1):
            x = x * weight
        total = total + x
    return total


def _peak_bytes() -> int:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes there, KiB elsewhere


def _in_a_process(count: int) -> Reading:
    command = [sys.executable, __file__, "--saved", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"reading {count} saved tensors ended with {done.returncode}: {done.stderr[-2000:]}")
    return Reading(**json.loads(done.stdout))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--most", type=int, default=1_000_000, help="saved tensors (default: a million)")
    parser.add_argument("--saved", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""How long a long session takes to open in Python, to show any step, and to give a parameter's whole curve.

Without FILE one of 100,000 steps and 300 parameters is written first, about 2 GB, and removed. The file is read warm.

    python tests/bench/bench_reader.py [FILE] [--steps N] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).parents[2] / "kernel_ext")]

from figures import Figure, table, write  # noqa: E402  # beside this file

import gradwatch  # noqa: E402  # found through the path just set

if TYPE_CHECKING:
    from collections.abc import Callable

SEEKS = 200


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory:
        file = arguments.file or _written(Path(directory, "long.gradwatch"), arguments.steps)
        figures = measure(file, arguments.rounds)
    print(table(figures))
    write(arguments.json, figures, rounds=arguments.rounds)


def measure(file: Path, rounds: int) -> list[Figure]:
    """Milliseconds: sessions are opened anew for each curve, so that none is answered from memory."""
    opened = [_milliseconds(lambda: gradwatch.open(file).close()) for _ in range(rounds)]
    with gradwatch.open(file) as session:
        numbers = [step.number for step in session.steps[:: max(1, len(session.steps) // 10_000)]]
        names = [parameter.name for parameter in session.parameters]
        on = f"{len(session.steps):,} steps, {len(names)} parameters (Python)"
        seeks = [_milliseconds(lambda: session.gradients_at(random.choice(numbers))) for _ in range(SEEKS)]
    curves = [_curve(file, random.choice(names)) for _ in range(rounds)]
    return [
        Figure.of("open", on, opened, unit="ms", wanted=100),
        Figure.of("a step's gradients", on, seeks, unit="ms", wanted=1),
        Figure.of("whole curve of the norm", on, curves, unit="ms", wanted=100),
    ]


def _curve(file: Path, name: str) -> float:
    with gradwatch.open(file) as session:
        return _milliseconds(lambda: session.gradient(name).norm)


def _milliseconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return 1e3 * (perf_counter() - start)


def _written(file: Path, steps: int) -> Path:
    script = str(Path(__file__).with_name("make_long_session.py"))
    subprocess.run([sys.executable, script, str(file), "--steps", str(steps)], check=True, stdout=subprocess.DEVNULL)
    return file


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", help="a session (default: one that is written first)")
    parser.add_argument("--steps", type=int, default=100_000, help="of the one that is written (default: 100,000)")
    parser.add_argument("--rounds", type=int, default=7, help="of opening and of curves (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Writes the session of a long run without training: real records, through the recorder's own writer.

Statistics are random, with full mantissas, so that they pack as badly as real ones. At 100,000 steps of 300
parameters the file takes about 2 GB:

    python tests/bench/make_long_session.py long.gradwatch [--steps N] [--parameters N] [--steps-per-chunk N]
        [--unfinished] [--step-ms MS]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

from gradwatch.records import (  # noqa: E402  # found through the path just set
    HISTOGRAM_BINS,
    Column,
    Finish,
    Gradients,
    Histograms,
    Module,
    Modules,
    OptimizerStep,
    Parameters,
    Step,
)
from gradwatch.session.writer import SessionWriter  # noqa: E402  # as above
from session_factory import (  # noqa: E402  # as above
    RUN,
    START_NS,
    Node,
    Saved,
    Storage,
    backward,
    graph,
    ledger,
    parameter,
    step,
    step_start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.records import Record

NODES_PER_PARAMETER = 5
PARAMETERS_PER_MODULE = 5
ELEMENTS = 65_536
NONFINITE_EVERY = 4_999


class Run:
    """The records of a run that did not take place."""

    def __init__(self, parameters: int) -> None:
        self.count = parameters
        self._random = np.random.default_rng(0)
        self._ids = Column("<u4", np.arange(parameters, dtype="<u4").tobytes())
        self._scale = np.exp(self._random.normal(-4, 2, parameters))

    def names(self) -> Iterator[Record]:
        """What is written once."""
        modules = range(0, self.count, PARAMETERS_PER_MODULE)
        yield Modules([Module(at, "model", f"layers.{at}" if at else "", "Block") for at in range(len(modules))])
        yield Parameters(
            [
                parameter(at, f"layers.{at // PARAMETERS_PER_MODULE}.weight{at % PARAMETERS_PER_MODULE}", [256, 256])
                for at in range(self.count)
            ]
        )
        leaves = [Node("AccumulateGrad", parameter=at) for at in range(self.count)]
        chain = [Node("MulBackward0") for _ in range(self.count * (NODES_PER_PARAMETER - 1))]
        nodes = [*leaves, *chain]
        edges = [(self.count + at, 0, self.count + at - 1, 0) for at in range(1, len(chain))]
        edges += [(self.count + at, 1, at % self.count, 0) for at in range(len(chain))]
        yield graph(0, nodes, edges, [len(nodes) - 1])
        saved = [Saved(self.count + at, "self", at, (256, 256)) for at in range(len(chain))]
        yield ledger(0, 0, saved, [Storage(4 * ELEMENTS) for _ in saved])

    def step(self, number: int, *, detailed: bool) -> Iterator[Record]:
        """Yield a step's records in the recorder's order."""
        held = 4 * ELEMENTS * self.count
        yield backward(number, graph=0, ledger=0 if detailed else -1, held_bytes=held if detailed else -1)
        yield Gradients(number, 0, "parameter", self._ids, self._statistics(number))
        if detailed:
            codes = self._random.integers(0, 120, (self.count, HISTOGRAM_BINS), dtype=np.uint8)
            codes[:, :20] = codes[:, 44:] = 0
            yield Histograms(number, 0, "parameter", self._ids, Column("|u1", codes.tobytes()))
        names = ("gradient_norm", "parameter_norm", "update_ratio")
        yield OptimizerStep(number, 0, "AdamW", self._ids, {name: self._numbers("<f4") for name in names})
        yield step(number, float(2 * np.exp(-number / 1e5) + 0.1 * self._random.random()))

    def _statistics(self, number: int) -> dict[str, Column]:
        zeros = np.zeros(self.count, "<u8")
        bad = zeros.copy()
        bad[7 % self.count] = number % NONFINITE_EVERY == NONFINITE_EVERY - 1
        counts = {"count": zeros + ELEMENTS, "zeros": zeros, "nan": bad, "inf": zeros, "subnormals": zeros}
        columns = {name: Column("<u8", values.tobytes()) for name, values in counts.items()}
        return columns | {name: self._numbers("<f4") for name in ("min", "max", "mean", "l1", "l2")}

    def _numbers(self, dtype: str) -> Column:
        values: Any = self._scale * self._random.lognormal(0, 0.3, self.count)
        return Column(dtype, values.astype(dtype).tobytes())


def main() -> None:
    arguments = _arguments()
    run = Run(arguments.parameters)
    writer = SessionWriter(arguments.path, RUN, overwrite=True)
    for record in run.names():
        writer.write(record, time_ns=START_NS)
    for number in range(arguments.steps):
        for record in run.step(number, detailed=number % writer.detail_interval == 0):
            if arguments.step_ms and isinstance(record, Step):
                record = replace(record, end_ns=time.time_ns())  # noqa: PLW2901  # who follows measures from it
            writer.write(record, time_ns=step_start(number), step=number)
        writer.end_step()
        if arguments.step_ms:
            time.sleep(arguments.step_ms / 1e3)
        elif number % arguments.steps_per_chunk == arguments.steps_per_chunk - 1:
            writer.flush()
    if arguments.unfinished:
        writer.flush()
    else:
        writer.close(Finish(step_start(arguments.steps), "the program ended", arguments.steps, 0, 0))
    size = arguments.path.stat().st_size
    dropped = f", {writer.dropped} records dropped" if writer.dropped else ""
    print(f"{arguments.path}: {arguments.steps:,} steps, {arguments.parameters} parameters, {size:,} bytes{dropped}")
    if writer.failed:
        sys.exit(writer.failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="where to write it; a file that is there is replaced")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--parameters", type=int, default=300)
    parser.add_argument("--steps-per-chunk", type=int, default=10, help="as a run of 0.1 s a step has (default: 10)")
    parser.add_argument("--step-ms", type=float, default=0, help="write at this pace, to be followed")
    parser.add_argument("--unfinished", action="store_true", help="leave summary and footer out")
    return parser.parse_args()


if __name__ == "__main__":
    main()

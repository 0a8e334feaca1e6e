"""What a step's records cost on the training thread, and how many bytes a step takes in the file.

The step has 1,800 rows with histograms, as a large model has at `nodes`; beside it, as a floor, one copy of those rows
in memory. Bytes are those of a long run with 300 parameters, scalars alone.

    python tests/bench/bench_writer.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter, time_ns

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

from figures import Figure, table, write  # noqa: E402  # beside this file
from make_long_session import Run  # noqa: E402  # as above

from gradwatch.capture.backward import BackwardCall  # noqa: E402  # found through the path just set
from gradwatch.capture.modules import ModuleTable  # noqa: E402  # as above
from gradwatch.capture.names import Namer  # noqa: E402  # as above
from gradwatch.capture.parameters import ParameterTable  # noqa: E402  # as above
from gradwatch.capture.probes import Cost, Probe  # noqa: E402  # as above
from gradwatch.capture.sites import SiteTable  # noqa: E402  # as above
from gradwatch.capture.statistics import StatisticRows  # noqa: E402  # as above
from gradwatch.capture.step_records import StepRecords, Tables  # noqa: E402  # as above
from gradwatch.capture.steps import OpenStep  # noqa: E402  # as above
from gradwatch.session.writer import SessionWriter  # noqa: E402  # as above
from session_factory import RUN, START_NS, step_start  # noqa: E402  # as above

ROWS, PARAMETERS, STEPS = 1_800, 300, 2_000


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory:
        figures = [
            *records(Path(directory, "rows.gradwatch"), arguments.rounds),
            size(Path(directory, "bytes.gradwatch")),
        ]
    print(f"torch {torch.__version__}, {arguments.rounds} rounds\n")
    print(table(figures))
    write(arguments.json, figures, torch=str(torch.__version__), rounds=arguments.rounds)


def records(path: Path, rounds: int) -> list[Figure]:
    """Microseconds of handing a step over, and of copying its rows once."""
    writer = SessionWriter(path, RUN)
    step_records = _step_records(writer)
    handed: list[float] = []
    copied: list[float] = []
    for number in range(rounds):
        step = _step(number)
        rows = step.calls[0].rows
        start = perf_counter()
        step_records.add(step, "backward", time_ns())
        handed.append(1e6 * (perf_counter() - start))
        start = perf_counter()
        rows._gather(None)
        copied.append(1e6 * (perf_counter() - start))
        writer.flush()
    on = f"{ROWS:,} rows with histograms"
    return [
        Figure.of("a step's records, training thread", on, handed, unit="us", wanted=100),
        Figure.of("floor: one copy of the rows", on, copied, unit="us"),
    ]


def _step_records(writer: SessionWriter) -> StepRecords:
    sites = SiteTable()
    tables = Tables(ModuleTable(Namer(sites.origins), lambda *_: None), ParameterTable(lambda *_: None), sites)
    return StepRecords(writer, tables, (Cost(), Probe("step", lambda notice: print(notice.text))), lambda _: None)


def _step(number: int) -> OpenStep:
    """A step of one call, whose rows are those of small tensors, one a node."""
    call = BackwardCall("backward", None, 0, StatisticRows(histogram=True), False, False, False)  # noqa: FBT003 # the record's fields
    call.index = 0
    values = torch.randn(ROWS, 64)
    call.node_rows = [(node, call.rows.add(values[node])) for node in range(ROWS)]
    return OpenStep(number, time_ns(), calls=[call])


def size(path: Path) -> Figure:
    """Bytes that the file grows by for each step, names and the end of the file not counted."""
    run = Run(PARAMETERS)
    writer = SessionWriter(path, RUN)
    for record in run.names():
        writer.write(record, time_ns=START_NS)
    writer.flush()
    before = writer.bytes_written
    for number in range(STEPS):
        for record in run.step(number, detailed=False):
            writer.write(record, time_ns=step_start(number), step=number)
        writer.end_step()
    writer.flush()
    grown = (writer.bytes_written - before) / STEPS
    writer.abandon()
    return Figure.of("a step in the file", f"{PARAMETERS} parameters, scalars", [grown], unit="B", wanted=8_000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50, help="steps handed over (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

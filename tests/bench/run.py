"""All benches in one sitting: prints every figure beside what is wanted, and writes them all into one JSON file.

A bench that cannot run here (no GPU, no VS Code) is named at the end, never counted as reached. Run alone on the
machine; about an hour.

    python tests/bench/run.py [--only NAME] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from figures import Figure, read, table, write

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Bench:
    """A program that takes `--json FILE`, and `--rounds N` where `takes_rounds`."""

    title: str
    file: str
    takes_rounds: bool = False

    def command(self, json_file: Path, rounds: int | None) -> list[str]:
        """How it is started."""
        program = ["node"] if self.file.endswith(".mts") else [sys.executable]
        more = ["--rounds", str(rounds)] if self.takes_rounds and rounds is not None else []
        return [*program, str(HERE / self.file), "--json", str(json_file), *more]


BENCHES = (
    Bench("Step time with recording over step time without", "bench_recorder.py", takes_rounds=True),
    Bench("The same on a GPU, and memory added there", "bench_device.py", takes_rounds=True),
    Bench("Statistics on the CPU, as a share of a plain read", "bench_statistics.py", takes_rounds=True),
    Bench("Writing a step", "bench_writer.py"),
    Bench("A ledger of a million saved tensors", "bench_ledger.py"),
    Bench("Reading a long session, in Python", "bench_reader.py"),
    Bench("Reading a long session, in TypeScript", "bench_replay.mts"),
    Bench("Layout of a graph of 10,000 nodes", "bench_layout.mts"),
    Bench("Stop to painted panel, in VS Code", "bench_panel.mts"),
)
NOT_HERE = 77
"""The exit status of a bench that cannot run on this machine, as automake's tests have it."""


def main() -> int:
    arguments = _arguments()
    found: list[Figure] = []
    left_out: list[str] = []
    for bench in BENCHES:
        if arguments.only in bench.file:
            figures, trouble = run(bench, arguments.rounds)
            print(f"\n## {bench.title}\n\n{table(figures) if figures else trouble}", flush=True)
            found += figures
            left_out += [f"{bench.file}: {trouble}"] * (trouble != "")
    write(arguments.json, found, machine=machine(), left_out=left_out)
    print("\n" + "\n".join([*(f"not measured: {each}" for each in left_out), _summary(found)]))
    return 1 if any("failed" in each for each in left_out) else 0


def run(bench: Bench, rounds: int | None) -> tuple[list[Figure], str]:
    """A bench's figures, or none and why."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "figures.json")
        done = subprocess.run(
            bench.command(file, rounds), capture_output=True, text=True, check=False
        )  # our own benches
        if done.returncode == 0 and file.exists():
            return read(file), ""
    last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
    return [], last if done.returncode == NOT_HERE else f"failed with status {done.returncode}: {last}"


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"python": platform.python_version(), "torch": version("torch"), "cpu": _cpu(), "cores": os.cpu_count()}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _summary(figures: list[Figure]) -> str:
    wanted = [each for each in figures if each.wanted is not None]
    return f"{sum(each.is_reached() is True for each in wanted)} of {len(wanted)} figures are as good as wanted"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="NAME", help="benches with this in their file's name")
    parser.add_argument("--rounds", type=int, help="of the benches that take them (default: their own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Whether a long recording stays as small and as fast as it began: memory, file and cost over many steps.

A process trains a small model, in turns with one that trains it unrecorded, and prints a row every so many recorded
steps: resident memory, bytes that malloc has handed out, Python's blocks, tensors alive, the file, how many steps are
written in detail, and the time of the recorded steps over that of the unrecorded ones beside them, so that what else
the machine does cancels out. The last lines compare the ends of the run.

    python tests/bench/bench_long_run.py [--detail modules] [--steps 20000] [--budget-bytes N] [--json FILE]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

import gradwatch  # noqa: E402  # found through the path just set
from gradwatch.capture.recorder import Options, Recorder  # noqa: E402  # as above
from gradwatch.records import Detail  # noqa: E402  # as above
from models import mlp  # noqa: E402  # as above

if TYPE_CHECKING:
    from typing_extensions import Self

    from models import Program

JSON_VERSION = 1
SAMPLES = 20
"""Rows of the table."""
PAIRS = 10
"""Blocks of recorded and unrecorded steps between two rows."""


class _Malloc(ctypes.Structure):
    """Glibc's mallinfo2."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]  # as malloc.h lists them


@dataclass(frozen=True)
class Sample:
    """What the process holds after so many recorded steps. `native_bytes` is -1 where malloc does not tell."""

    steps: int
    resident_bytes: int
    native_bytes: int
    python_blocks: int
    tensors: int
    file_bytes: int
    interval: int
    ratio: float


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    if arguments.alone:
        train_alone(arguments.alone)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "long.gradwatch")
        samples = run(path, arguments.detail, arguments.steps, arguments.budget_bytes)
        size, costs = path.stat().st_size, own_costs(path)
    print(f"{arguments.detail}, {arguments.steps:,} steps, budget {arguments.budget_bytes:,} bytes, file {size:,}\n")
    print("  steps     resident       native    blocks tensors         file    detail  ratio")
    for each in samples:
        print(
            f"{each.steps:7,} {each.resident_bytes:12,} {each.native_bytes:12,} {each.python_blocks:9,} "
            f"{each.tensors:7} {each.file_bytes:12,} {'1/' + str(each.interval):>9} {each.ratio:6.2f}"
        )
    part = max(1, len(costs) // SAMPLES)
    first, last = statistics.median(costs[part : 2 * part]), statistics.median(costs[-part:])
    print(f"\nown cost a step, last {part:,} over the second {part:,}: {last / first:.2f} ({last / 1e3:.0f} us)")
    half = len(samples) // 2
    early, late = (statistics.median(each.ratio for each in part) for part in (samples[:half], samples[half:]))
    print(f"recorded over unrecorded steps: first half {early:.2f}, second half {late:.2f}")
    if arguments.json:
        content = {"version": JSON_VERSION, "samples": [asdict(each) for each in samples]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run(path: Path, detail: Detail, steps: int, budget_bytes: int) -> list[Sample]:
    """Train and sample."""
    program = mlp()
    block = max(1, steps // SAMPLES // PAIRS)
    recorder = Recorder({"model": program.model}, path, Options(detail=detail, budget_bytes=budget_bytes))
    times: list[tuple[float, float]] = []
    samples: list[Sample] = []
    with _Alone(block) as alone, recorder:
        for done in range(block, steps + 1, block):
            times.append((_timed(program, block), alone.seconds()))
            if len(times) == PAIRS:
                recorder.flush()
                samples.append(_sample(recorder, done, path, times))
                times = []
    return samples


class _Alone:
    """A process that trains the same without a recorder, one block whenever it is asked."""

    def __init__(self, block: int) -> None:
        command = [sys.executable, __file__, "--alone", str(block)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def seconds(self) -> float:
        """Time of the next block."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def train_alone(block: int) -> None:
    """Run as that process."""
    program = mlp()
    for _ in sys.stdin:
        print(_timed(program, block), flush=True)


def own_costs(path: Path) -> list[int]:
    """Nanoseconds that the recorder says each step cost."""
    with gradwatch.open(path) as session:
        return [step.cost_ns for step in session.steps]


def _timed(program: Program, steps: int) -> float:
    start = perf_counter()
    for _ in range(steps):
        program.step()
    return perf_counter() - start


def _sample(recorder: Recorder, steps: int, path: Path, times: list[tuple[float, float]]) -> Sample:
    gc.collect()
    writer = recorder._writer
    return Sample(
        steps=steps,
        resident_bytes=resident_bytes(),
        native_bytes=native_bytes(),
        python_blocks=sys.getallocatedblocks(),
        tensors=sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()),
        file_bytes=path.stat().st_size,
        interval=writer.detail_interval if writer is not None else -1,
        ratio=statistics.median(recorded / alone for recorded, alone in times),
    )


def resident_bytes() -> int:
    """Memory of this process in RAM; -1 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else -1


def native_bytes() -> int:
    """Bytes that malloc has handed out and not got back; -1 where it does not tell."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if mallinfo is None:
        return -1
    mallinfo.restype = _Malloc
    info = mallinfo()
    return info.uordblks + info.hblkhd


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--detail", choices=get_args(Detail), default="modules")
    parser.add_argument("--steps", type=int, default=20_000, help="recorded ones (default: 20,000)")
    parser.add_argument("--budget-bytes", type=int, default=2 << 30, help="of the file (default: 2 GiB)")
    parser.add_argument("--alone", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the samples here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

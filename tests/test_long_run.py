"""A long recording stays as small as it began: the short form of bench/bench_long_run.py, which has the figures."""

from __future__ import annotations

import json
from pathlib import Path

from models import run_alone

STEPS = 1200
EVERY = 60
BUDGET = 1_800_000
"""Of the file: half of it is spent before these steps are over, so that detail is thinned out."""

SCRIPT = """
import gc, json, sys
from pathlib import Path
sys.path[:0] = [str(Path({tests!r}, "bench"))]
import torch
import gradwatch
from bench_long_run import native_bytes
from gradwatch.capture import step_records
from gradwatch.capture.recorder import Options, Recorder
from models import mlp

torch.set_num_threads(1)
leaked = []
if {leaks}:
    add = step_records.StepRecords.add
    step_records.StepRecords.add = lambda self, *given: (leaked.append([given, torch.empty(64)]), add(self, *given))[1]
program = mlp()
recorder = Recorder(program.model, {path!r}, Options(detail="modules", budget_bytes={budget}))
samples = []
with recorder:
    for done in range({every}, {steps} + 1, {every}):
        for _ in range({every}):
            program.step()
        recorder.flush()
        gc.collect()
        tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
        samples.append([native_bytes(), sys.getallocatedblocks(), tensors, recorder._writer.detail_interval])
print(json.dumps([samples, len(gradwatch.open({path!r}).steps)]))
"""


def growth(path: Path, *, leaks: bool = False) -> tuple[list[float], list[int], int]:
    """Growth a step of native bytes, Python blocks and tensors after the warm-up; detail intervals; steps written.

    Buffers fill and empty again: the least of one third of the samples is compared with the least of the next.
    """
    names = {"path": str(path), "leaks": leaks, "steps": STEPS, "every": EVERY, "budget": BUDGET}
    samples, written = json.loads(run_alone(SCRIPT.format(tests=str(Path(__file__).parent), **names)))
    third = len(samples) // 3
    ends = [[min(column) for column in zip(*part, strict=True)] for part in (samples[third:-third], samples[-third:])]
    steps = third * EVERY
    return [(after - before) / steps for before, after in zip(*ends, strict=True)][:3], [s[3] for s in samples], written


def test_memory_stays_flat_and_the_file_within_its_budget(tmp_path: Path) -> None:
    path = tmp_path / "long.gradwatch"
    (native, blocks, tensors), intervals, written = growth(path)
    assert written == STEPS  # every step is there, whatever was left out of it
    assert native < 300  # the file's index takes some
    assert blocks < 30  # curves wait in buffers until they are whole
    assert tensors == 0
    assert intervals[0] == 1
    assert intervals[-1] > 1
    assert path.stat().st_size <= BUDGET


def test_the_check_of_memory_can_fail(tmp_path: Path) -> None:
    (native, blocks, tensors), _, _ = growth(tmp_path / "leaky.gradwatch", leaks=True)
    assert native > 300
    assert blocks > 30
    assert tensors > 0.5

"""Distributed training, in two processes under torchrun: what each rank's session says, against hand and plain models.

The regimes run in programs of their own (tests/distributed_programs), many in one start: here their reports are read.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gradwatch
from gradwatch.session.compare import compare
from regimes import promise

if TYPE_CHECKING:
    Report = dict[str, list[str | None]]

PROGRAMS = Path(__file__).parent / "distributed_programs"
RANKS = 2
SECONDS = 240


@pytest.fixture(scope="module")
def data_parallel(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What went wrong in each regime of data_parallel.py, by rank."""
    return reports_of("data_parallel.py", tmp_path_factory.mktemp("data_parallel"))


@pytest.fixture(scope="module")
def sharded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def sharded(sharded_folder: Path) -> Report:
    """What went wrong in each regime of sharded.py, by rank."""
    return reports_of("sharded.py", sharded_folder)


def reports_of(program: str, folder: Path) -> Report:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, str(PROGRAMS / program), str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            process.wait(timeout=SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    files = [folder / f"report.rank{rank}.json" for rank in range(RANKS)]
    assert all(file.exists() for file in files), (folder / "output").read_text()[-5000:]
    reports = [json.loads(file.read_text()) for file in files]
    return {name: [report.get(name, "not reached") for report in reports] for name in reports[0]}


def assert_held(report: Report, *regimes: str) -> None:
    for regime in regimes:
        assert regime in report, f"{regime} was not reached: {[name for name in report if any(report[name])]} failed"
        for rank, failure in enumerate(report[regime]):
            assert failure is None, f"{regime}, rank {rank}: {failure}"


@promise("Distributed", "DistributedDataParallel: `.grad` averaged, and each rank's own gradient before that")
def test_ddp_shows_gradients_before_and_after_reduction(data_parallel: Report) -> None:
    assert_held(data_parallel, "plain", "inner module", "without a model", "small buckets", "clipped")


@promise("Distributed", "DDP: `no_sync` micro-batches, several backward calls")
def test_ddp_keeps_micro_batches_apart(data_parallel: Report) -> None:
    assert_held(data_parallel, "accumulation", "several reductions", "several passes")


@promise("Distributed", "DDP: `gradient_as_bucket_view`, `static_graph`, `find_unused_parameters`, fp16 comm hook")
def test_ddp_variants(data_parallel: Report) -> None:
    assert_held(data_parallel, "bucket views", "static graph", "unused parameters", "comm hooks", "users hooks")


@promise("Distributed", "DDP: uneven inputs (`join`), a model wrapped while it is recorded, ZeroRedundancyOptimizer")
def test_ddp_joined_wrapped_late_and_without_redundancy(data_parallel: Report) -> None:
    assert_held(data_parallel, "uneven", "wrapped late", "ZeRO")


@promise(
    "Distributed",
    "FSDP2 (`fully_shard`): resharding or not, mixed precision, micro-batches, HSDP",
    note="`.grad`, norms and update ratios are of this rank's part; the gradient before reduction is whole",
)
def test_fsdp_shows_the_part_of_each_rank_and_its_whole_local_gradient(sharded: Report) -> None:
    assert_held(sharded, "FSDP", "kept unsharded", "mixed precision", "accumulated", "hybrid", "started in the middle")


@promise("Distributed", "tensor parallel DTensor, alone and with FSDP2", note="of DTensors this rank's part")
def test_tensor_parallel_shows_the_part_of_each_rank(sharded: Report) -> None:
    assert_held(sharded, "tensor parallel", "two dimensions")


@promise("Distributed", "pipeline micro-batches (GPipe, 1F1B)")
def test_pipelines_keep_micro_batches_apart(sharded: Report) -> None:
    assert_held(sharded, "pipelines")


@promise(
    "Distributed",
    "FSDP1 (`FullyShardedDataParallel`)",
    gradients="partly",
    note="one flat parameter; with `use_orig_params` the gradient before reduction is not seen, and a notice says so",
)
def test_flat_fsdp_says_what_it_cannot_see(sharded: Report) -> None:
    assert_held(sharded, "FSDP 1")


def test_parts_of_sharded_parameters_are_named_as_such_and_no_parting(sharded: Report, sharded_folder: Path) -> None:
    assert_held(sharded, "FSDP")
    files = [sharded_folder / f"FSDP.modules.1.rank{rank}.gradwatch" for rank in range(RANKS)]
    with gradwatch.open(files[0]) as a, gradwatch.open(files[1]) as b:
        found = compare(a, b, ranks=True)
        own = [session.gradient("first.weight", local=True).norm[0] for session in (a, b)]
    assert found.gradients is None
    assert any("6 parameters are sharded (first.weight, " in note for note in found.notes), found.notes
    assert own[0] != own[1]

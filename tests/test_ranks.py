"""Several processes of one training run: each records to a file of its own, which says which rank it is."""

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
from distributed_programs import train as program
from gradwatch import cli
from gradwatch.capture.environment import rank_and_world_size
from gradwatch.session.ranks import rank_files

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAIN = Path(program.__file__)
BIN = Path(sys.executable).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
RECORD = ["-m", "gradwatch", "run"]
SECONDS = 120

PROGRAM = """
import sys
import torch, gradwatch
import torch.distributed as dist
import torch.multiprocessing as mp

def train(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradwatch.watch(model, "run.gradwatch") as recorder:
        for _ in range(3):
            model(torch.full((8, 4), 1.0 + rank)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert recorder.path.name == f"run.rank{rank}.gradwatch", recorder.path
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(train, args=(sys.argv[1],), nprocs=2)
"""


def test_spawned_ranks_record_to_a_file_each(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path / "store")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = rank_files(tmp_path)
    assert {rank: path.name for rank, path in found.paths.items()} == {
        0: "run.rank0.gradwatch",
        1: "run.rank1.gradwatch",
    }
    norms: list[list[float]] = []
    for rank, path in found.paths.items():
        with gradwatch.open(path) as session:
            assert (session.run.rank, session.run.world_size, len(session.steps)) == (rank, 2, 3)
            norms.append(session.gradient(session.parameters[0].name).norm.tolist())
    assert norms[0] == norms[1]  # what the optimizers were given: averaged over the ranks


def launch(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a launcher, and end it with all its children where it takes too long."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hf")}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(timeout=SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return code, (folder / "output").read_text()


def test_torchrun_records_each_rank_and_diff_names_the_one_whose_own_gradient_is_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = launch([*TORCHRUN, *RECORD, str(TRAIN), "nan"], tmp_path)
    assert code == 0, output
    assert "rank 0 of 2 done" in output
    assert "recorded to train.rank1.gradwatch" in output
    files = rank_files(tmp_path)
    assert {rank: path.name for rank, path in files.paths.items()} == {
        0: "train.rank0.gradwatch",
        1: "train.rank1.gradwatch",
    }
    for rank, path in files.paths.items():
        with gradwatch.open(path) as session:
            assert (session.run.rank, session.run.world_size, len(session.steps)) == (rank, 2, program.STEPS)
            own = session.gradients_at(2, "local", micro_batches=True)
            assert (own.nan.sum() > 0) == (rank == 1)
            assert session.gradient("0.weight").nan.tolist()[2] > 0, "reduction hands it on"
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", ".", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [(row["rank"], row["step"], row["backward"], row["first"]) for row in report["local"]] == [
        (0, 3, 0, False),  # by the weights that it was handed
        (1, 2, 0, True),
    ]
    assert report["ranks"][0]["parts"] is False, "micro-batches that are not reduced yet are no parting"
    assert cli.main(["diff", "."]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Rank 1 alone had gradients that were not finite before reduction, first at step 2" in said
    assert cli.main(["gradients", "train.rank1.gradwatch", "--kind", "local", "--step", "2", "--backward", "0"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Gradients of parameters on this rank, before reduction, at step 2 2 NaN, 2 finite" in said


@pytest.mark.parametrize("fate", ["exit", "kill", "raise"])
def test_a_rank_that_ends_early_leaves_its_file_readable_and_the_others_whole(tmp_path: Path, fate: str) -> None:
    command = [*TORCHRUN, "--no-python", str(BIN / "gradwatch"), "run", "--quiet", str(TRAIN), fate]
    code, output = launch(command, tmp_path)
    assert code == 1, output
    files = rank_files(tmp_path)
    assert list(files.paths) == [0, 1]
    assert files.unreadable == []
    with gradwatch.open(files.paths[1]) as session:
        assert session.gaps == []
        assert session.finished == (fate == "raise")
        assert len(session.steps) == 3 if fate == "raise" else len(session.steps) >= 1
        own = session.gradient("0.weight", local=True, micro_batches=True)
        assert len(own) == program.MICRO_BATCHES * len(session.steps)
        alone = own.norm.tolist()
    with gradwatch.open(files.paths[0]) as session:
        assert session.gaps == []
        assert len(session.steps) >= 3
        assert session.gradient("0.weight", local=True, micro_batches=True).norm.tolist()[0] != alone[0]


def test_accelerate_launch_records(tmp_path: Path) -> None:
    script = tmp_path / "single.py"
    script.write_text(
        "import torch\n"
        "model = torch.nn.Linear(4, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for _ in range(3):\n"
        "    model(torch.ones(8, 4)).mean().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
    )
    command = [str(BIN / "accelerate"), "launch", "--cpu", "--num_processes=1", *RECORD, str(script)]
    code, output = launch(command, tmp_path)
    assert code == 0, output
    with gradwatch.open(tmp_path / "single.gradwatch") as session:
        assert len(session.steps) == 3
        assert len(session.gradients_at(0, "local")) == 0, "nothing is reduced"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "torch.distributed.run", "train.py"],
        ["-m", "accelerate.commands.launch", "train.py"],
        [str(BIN / "torchrun"), "--nproc-per-node", "2", "train.py"],
    ],
)
def test_a_launcher_is_not_recorded_and_its_user_is_told_where_to_put_gradwatch(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *arguments]) == 2
    said = capsys.readouterr().err
    assert "starts other processes, and those train" in said
    assert "-m gradwatch run train.py" in said


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8)),
        ({"RANK": "3"}, None),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script, which is one process
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}, (5, 8)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, (0, 2)),
    ],
)
def test_the_rank_is_what_the_launcher_says(variables: dict[str, str], expected: tuple[int, int] | None) -> None:
    assert rank_and_world_size(variables) == expected

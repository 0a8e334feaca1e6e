"""Several processes of one training run: each records to a file of its own, which says which rank it is."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import gradwatch
from gradwatch.session.ranks import rank_files

if TYPE_CHECKING:
    from pathlib import Path

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

"""A program as users write it, for the launchers: it knows nothing of gradwatch. What befalls it is its argument."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS, MICRO_BATCHES = 4, 2


def main(fate: str) -> None:
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        for micro in range(MICRO_BATCHES):
            batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(100 * rank + 10 * step + micro))
            if fate == "nan" and rank == size - 1 and step == 2 and micro == 0:
                batch[0, 0] = torch.nan
            with nullcontext() if micro == MICRO_BATCHES - 1 else model.no_sync():
                model(batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 2 and rank == size - 1:
            befall(fate)
    print(f"rank {rank} of {size} done")
    dist.destroy_process_group()


def befall(fate: str) -> None:
    if fate in ("exit", "kill", "raise"):
        wait_for_the_files()
    if fate == "raise":
        raise ValueError("of the program's own")
    if fate == "exit":
        os._exit(3)
    if fate == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def wait_for_the_files() -> None:
    """Die only once both ranks' steps are on the disk: the launcher then ends the other rank, which waits for this."""
    paths = [Path(f"train.rank{rank}.gradwatch") for rank in range(2)]
    end = time.monotonic() + 60
    sizes, since = [0, 0], time.monotonic()
    while time.monotonic() < end:
        now = [path.stat().st_size if path.exists() else 0 for path in paths]
        if now != sizes:
            sizes, since = now, time.monotonic()
        if min(sizes) > 2_000 and time.monotonic() - since > 2:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")

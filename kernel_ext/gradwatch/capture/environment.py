"""What a session says about where it came from."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradwatch._version import __version__
from gradwatch.records import FORMAT_VERSION, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradwatch.records import Detail

GIT_SECONDS = 2.0
"""A git that answers slower (a network file system) is not waited for."""

_RANK_VARIABLES = (
    ("RANK", "WORLD_SIZE"),  # torchrun, accelerate launch
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # of srun; a batch script itself has only the first
)


def run_record(detail: Detail, *, line_clock: bool, asks_programs: bool = True) -> Run:
    """The Run record of a recording that starts now, in this process. Says what it can where torch is not loaded.

    Without `asks_programs` no process is started: git is not asked, and the platform is told in short.
    """
    torch: Any = sys.modules.get("torch")
    revision = _git("rev-parse", "HEAD") if asks_programs else None
    rank, world_size = _rank_and_world_size(torch)
    status = _git("status", "--porcelain", "--untracked-files=no") if revision else None
    return Run(
        format_version=FORMAT_VERSION,
        gradwatch_version=__version__,
        detail=detail,
        start_ns=time.time_ns(),
        hostname=socket.gethostname(),
        pid=os.getpid(),
        rank=rank,
        world_size=world_size,
        argv=list(sys.argv),
        working_directory=_working_directory(),
        python_version=platform.python_version(),
        torch_version=str(getattr(torch, "__version__", "")),
        cuda_version=getattr(getattr(torch, "version", None), "cuda", None),
        platform=platform.platform() if asks_programs else _short_platform(),
        devices=_devices(torch),
        git_revision=revision,
        git_dirty=bool(status) if status is not None else None,
        line_source="line clock" if line_clock else "module calls",
    )


def _rank_and_world_size(torch: Any) -> tuple[int, int]:
    """As the process group says where there is one (spawned processes need no variables), else as the launcher does."""
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return rank_and_world_size(os.environ) or (0, 1)


def rank_and_world_size(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """What the launcher of this process says of its rank: torchrun, mpirun or srun. None where none did."""
    for rank, world_size in _RANK_VARIABLES:
        values = environment.get(rank, ""), environment.get(world_size, "")
        if all(value.isdecimal() for value in values):
            return int(values[0]), int(values[1])
    return None


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return ""


def _short_platform() -> str:
    return f"{platform.system()}-{platform.release()}-{platform.machine()}"  # the long form runs `uname -p`


def _devices(torch: Any) -> list[str]:
    # Asking for a device's name would create a CUDA context that the program may not want.
    if hasattr(torch, "cuda") and torch.cuda.is_available() and torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ["cpu"]


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 # fixed arguments
            ["git", *arguments],  # noqa: S607 # the user's git
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()

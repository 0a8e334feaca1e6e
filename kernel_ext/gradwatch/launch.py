"""Runs a user's program under a recording, without being part of it.

Python itself runs the program, in a fresh interpreter that replaces this process: `__main__`, argv,
sys.path, tracebacks, signals and exit code are the program's own by construction. The startup
directory on its PYTHONPATH (startup/sitecustomize.py) starts the recording when torch has been loaded;
the program may set up its environment before that as it likes.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gradwatch.errors import SessionExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradwatch.capture.recorder import Recorder
    from gradwatch.records import Detail

STARTUP = Path(__file__).parent / "startup"
PREFIX = "GRADWATCH_RUN_"

LAUNCHERS = {
    "torch.distributed.run": "torchrun --nproc-per-node 2",
    "torch.distributed.launch": "torchrun --nproc-per-node 2",
    "torchrun": "torchrun --nproc-per-node 2",
    "accelerate.commands.launch": "accelerate launch",
    "accelerate.commands.accelerate_cli": "accelerate launch",
    "accelerate": "accelerate launch",
    "accelerate-launch": "accelerate launch",
}
"""Programs whose children train, and how each takes `-m gradwatch run`."""


@dataclass(frozen=True)
class Program:
    """What to run: a script (or directory, or zip) as `python` takes it, or a module as `python -m` does."""

    name: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False

    @property
    def command(self) -> list[str]:
        return [*(["-m"] if self.is_module else []), self.name, *self.arguments]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2] if self.is_module else Path(self.name).stem


@dataclass(frozen=True)
class TrialRequest:
    """A change to try: after step `plain_step`, which is measured without it. `ChangeKind` names what there is."""

    change: str
    target: str
    plain_step: int


@dataclass(frozen=True)
class Request:
    """A program and how to record it.

    `path` None is a name made from the program's; `held` None is the recorder's default.
    """

    program: Program
    path: str | None = None
    detail: Detail = "modules"
    held: bool | None = None
    overwrite: bool = False
    quiet: bool = False
    trial: TrialRequest | None = None


def session_path(request: Request, environment: Mapping[str, str]) -> str:
    """Name the session's file. Under torchrun each process has its own, and another one after each restart."""
    from gradwatch.capture.environment import rank_and_world_size  # noqa: PLC0415 # as below
    from gradwatch.session.writer import path_of_rank  # noqa: PLC0415 # the program's process imports this file too

    path = Path(request.path or f"{request.program.stem}.gradwatch")
    rank = rank_and_world_size(environment)
    if rank is not None:
        path = path_of_rank(path, *rank)
    restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restarts.isdecimal() and int(restarts):
        path = path.with_name(f"{path.stem}.restart{int(restarts)}{path.suffix}")
    return str(path)


def _refuse_launcher(program: Program) -> None:
    """Raise UsageError for a program that trains in processes of its own: it would be recorded, and they would not."""
    name = program.name if program.is_module else Path(program.name).name
    how = LAUNCHERS.get(name)
    if how is not None:
        raise UsageError(
            f"{name} starts other processes, and those train: gradwatch records each where the launcher starts it.\n"
            f"Put it there: {how} -m gradwatch run train.py"
        )


def command(request: Request) -> list[str]:
    """Make the command line that runs the program in a fresh interpreter, options of this one included."""
    return [sys.executable, *_interpreter_options(), *request.program.command]


def environment(request: Request) -> dict[str, str]:
    """Take this process's environment, with the startup directory and the settings it reads.

    Raises SessionExists where the file is there and not to be overwritten, and UsageError where the
    interpreter was told to ignore its environment.
    """
    if sys.flags.ignore_environment or sys.flags.no_site:
        raise UsageError(
            "gradwatch run cannot reach a program under python -I, -E or -S, which ignore PYTHONPATH or site.\n"
            'Leave the option out, or record inside the program: with gradwatch.watch(model, "run.gradwatch"):'
        )
    _refuse_launcher(request.program)
    path = session_path(request, os.environ)
    if Path(path).exists() and not request.overwrite:
        raise SessionExists(path)
    settings = {
        "SESSION": str(Path(path).absolute()),
        "SHOWN": path,
        "PROGRAM": request.program.name,
        "DETAIL": request.detail,
        "HELD": "" if request.held is None else "yes" if request.held else "no",
        "OVERWRITE": "1" if request.overwrite else "",
        "QUIET": "1" if request.quiet else "",
    }
    if request.trial is not None:
        settings["TRIAL"] = json.dumps(asdict(request.trial))
    theirs = os.environ.get("PYTHONPATH")
    if theirs is not None:
        settings["PYTHONPATH"] = theirs
    paths = [str(STARTUP), theirs] if theirs else [str(STARTUP)]
    ours = {PREFIX + name: value for name, value in settings.items()}
    return {**os.environ, **ours, "PYTHONPATH": os.pathsep.join(paths)}


def run(request: Request) -> NoReturn:
    """Replace this process by the program. Raises as `environment` does."""
    program, variables = command(request), environment(request)
    if os.name != "nt":
        os.execve(program[0], program, variables)  # noqa: S606 -- running the user's program is the purpose
    # Windows has no exec that keeps the process id, so this process waits and passes the exit code on.
    import signal  # noqa: PLC0415 -- Windows only
    import subprocess  # noqa: PLC0415 -- Windows only

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which gets it from the console
    sys.exit(subprocess.call(program, env=variables))  # noqa: S603 -- as above


def _interpreter_options() -> list[str]:
    """Return what stood between `python` and `-m gradwatch` (or the script) on this process's command line."""
    front = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    options = front[:-1]
    if getattr(sys.modules["__main__"], "__spec__", None) is None:
        return options
    if options and options[-1].startswith("-") and options[-1].endswith("m"):
        last = options.pop().removesuffix("m")
        options += [last] if last != "-" else []
    return options


class Recording:
    """The recording in the program's process."""

    def __init__(self, recorder: Recorder, shown: str) -> None:
        self._recorder = recorder
        self._shown = shown

    def end(self) -> str | None:
        """Close the session. Returns what to tell the user; None where there is no file to tell of."""
        try:
            self._recorder.stop()
        except Exception as error:  # noqa: BLE001 -- the program is over; its exit code stays its own
            return f"the recording could not be closed: {error}"
        if not Path(self._recorder.path).exists():
            return None
        if self._recorder.gave_way:
            return f"the program started a recording of its own; {self._shown} ends there."
        return f"recorded to {self._shown}. Look at it with: gradwatch show {shlex.quote(self._shown)}"


def start(settings: dict[str, str]) -> Recording:
    """Record what trains in this process from here on. Called by startup/sitecustomize.py, which catches all errors."""
    from gradwatch.closing import Options, Recorder  # noqa: PLC0415 -- imports torch, which is loaded now

    detail: Detail = settings["DETAIL"]  # pyright: ignore[reportAssignmentType] -- cli.py's choices are Detail's
    held = {"yes": True, "no": False}.get(settings["HELD"])
    options = Options(detail=detail, held=held, overwrite=bool(settings["OVERWRITE"]), gives_way=True)
    recorder = Recorder(None, settings["SESSION"], options)
    recorder.start()
    if "TRIAL" in settings:
        trial = TrialRequest(**json.loads(settings["TRIAL"]))
        recorder.try_next(trial.change, trial.target, plain_step=trial.plain_step, ends_program=True)
    return Recording(recorder, settings["SHOWN"])

"""The recorder: puts the hooks in, gathers what they see, and gives everything back at stop()."""

from __future__ import annotations

import atexit
import builtins
import functools
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args

from torch import nn

from gradwatch.capture.environment import run_record
from gradwatch.capture.kept_options import checked
from gradwatch.capture.recording import Recording
from gradwatch.errors import RecordingError, UsageError
from gradwatch.records import Detail, Finish, Notice, Record
from gradwatch.session.writer import SessionWriter, path_of_rank

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from gradwatch.capture.kept_options import KeepSteps
    from gradwatch.capture.kept_steps import KeptSteps
    from gradwatch.capture.names import Namer
    from gradwatch.records import Run

Models = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_running: list[Recorder] = []

closing: list[Callable[[Path], Sequence[Record]]] = []
"""What is asked of a recording that ends, before its file is closed: each is given the path of the file, in which all
that was recorded stands already, and returns records to add. Filled by whoever knows what can be asked of a file."""

PATIENCE_S = 10.0
"""How long the disk may take, at the end, until what is asked then is not asked."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to record. `held` None means: off at `parameters`, on otherwise. `budget_bytes` is the file's.

    A recording that `gives_way` ends when the program starts one of its own.
    """

    detail: Detail = "modules"
    overwrite: bool = False
    held: bool | None = None
    budget_bytes: int = 2 << 30
    gives_way: bool = False
    keep_steps: KeepSteps | int | None = None


def watch(  # noqa: PLR0913 # the public door: one keyword a question
    model: Models | None = None,
    path: str | os.PathLike[str] = "run.gradwatch",
    *,
    detail: Detail = "modules",
    overwrite: bool = False,
    held: bool | None = None,
    keep_steps: KeepSteps | int | None = None,
) -> Recorder:
    """Record from now on, until the block ends or `stop()` is called.

    Args:
        model: a module, several in a list, or several in a dict by the names they get. None: everything
            that trains in this process, found when it is first used.
        path: the session file to write. Each of several ranks has its own: run.rank3.gradwatch; the recorder's
            `path` says which.
        detail: "parameters" (each parameter's gradient), "modules" (also the gradient of every module
            output, the graph, and memory held for backward), or "nodes" (also every autograd node).
        overwrite: replace `path` if it is there.
        held: read the graph and the memory held for backward. Default: off at "parameters", on otherwise.
        keep_steps: every how many steps to keep what `gradwatch replay` needs to run that step again, or a
            `gradwatch.replay.KeepSteps`. Say where a step begins with `recorder.wrap` or `recorder.step(batch)`.

    Raises:
        SessionExists: `path` is there and `overwrite` is False.
        RecordingError: a recording runs already in this process, or the file cannot be written.
        UsageError: an argument does not fit.
        MissingDependency: `keep_steps` needs safetensors.

    """
    recorder = Recorder(model, path, Options(detail=detail, overwrite=overwrite, held=held, keep_steps=keep_steps))
    recorder.start(sys._getframe(1))  # models in a list get the names the caller holds them under
    return recorder


class Recorder:
    """A recording. `gradwatch.watch` makes and starts one; it is also a context manager."""

    def __init__(
        self,
        model: Models | None = None,
        path: str | os.PathLike[str] = "run.gradwatch",
        options: Options | None = None,
    ) -> None:
        self.options = options or Options()
        self.path = self._asked_path = Path(path)
        _check(model, self.options)
        self._keep = checked(self.options.keep_steps)
        self._model = model
        self._recording: Recording | None = None
        self._writer: SessionWriter | None = None
        self.gave_way = False

    def __repr__(self) -> str:
        state = f"recording, step {self._recording.steps.number}" if self._recording else "stopped"
        return f"<gradwatch.Recorder {self.path} detail={self.options.detail} {state}>"

    @property
    def is_recording(self) -> bool:
        """Whether hooks are in place now."""
        return self._recording is not None

    @property
    def step_number(self) -> int:
        """The step that is open now, or -1 when not recording."""
        return self._recording.steps.number if self._recording else -1

    def start(self, frame: FrameType | None = None) -> None:
        """Open the file and put the hooks in. `frame` is where names of models are looked up."""
        if _running and _running[0].options.gives_way:
            _running[0].gave_way = True
            _running[0].stop("gave way to the program's own recording")
        if _running:
            raise RecordingError(
                f"This process is already recording to {_running[0].path}.\n"
                "Stop that recording first, with recorder.stop() or by leaving its block."
            )
        recording = Recording(self.options.detail, held=self._reads_held())
        run = run_record(self.options.detail, line_clock=recording.start_lines())
        try:
            self.path = path_of_rank(self._asked_path, run.rank, run.world_size)
            self._writer = _open_writer(self.path, run, self.options)
        except BaseException:
            recording.stop_lines()
            raise
        if self._keep is not None:
            recording.kept = _kept_steps(self._keep, self.path, run, recording)
            if self.options.overwrite:
                recording.kept.clear()
        self._recording = recording
        _running.append(self)
        atexit.register(self._at_exit)
        try:
            recording.start(self._writer, _named(self._model, recording.namer, frame))
        except BaseException as error:  # of a module that raises when it is looked into
            self.stop(f"could not start: {type(error).__name__}: {error}")
            raise

    def step(self, *batch: Any, **named: Any) -> None:
        """End the step here. For programs without an optimizer; once called, it alone ends steps.

        With a batch, a step on that batch begins here, and the one before it ends: call it at the top of the loop.
        With `keep_steps` the batch is kept: tensors, numbers, strings and None, in lists, tuples and dicts.
        """
        if self._recording is None:
            return
        if batch or named:
            self._recording.begin_step(batch, named)
        else:
            self._recording.explicit_step()

    def wrap(self, train_step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return `train_step` so that each of its calls is one step, its arguments kept as in `step`."""

        @functools.wraps(train_step)
        def step(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            if self._recording is not None:
                self._recording.begin_step(arguments, named)
            result = train_step(*arguments, **named)
            if self._recording is not None:
                self._recording.explicit_step()
            return result

        return step

    def flush(self) -> bool:
        """Wait until every ended step is in the file, and every kept one on disk. False when the writer failed."""
        if self._recording is not None and self._recording.kept is not None:
            self._recording.kept.flush()
        return self._writer is not None and self._writer.flush()

    def stop(self, reason: str = "stopped") -> None:
        """Take every hook out, write what is left, and close the file. Does nothing when not recording."""
        recording, writer = self._recording, self._writer
        if recording is None or writer is None:
            return
        self._recording = None
        _running.remove(self)
        atexit.unregister(self._at_exit)
        recording.stop()
        end = time_ns()
        try:
            _ask_at_the_end(writer)
        finally:  # whatever happens, such as a second Ctrl-C: the file is closed
            _close(recording, writer, reason, end)

    def __enter__(self) -> Self:
        if self._recording is None:
            self.start(sys._getframe(1))  # as in watch
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error)
        self.stop("stopped" if kind is None else f"{kind.__name__}: {error}")

    def try_next(self, change: str, target: str = "*", *, plain_step: int = 0, ends_program: bool = False) -> None:
        """Try a change for real with one step, measured against the step before it, and take it back.

        `change` is "checkpoint", "bf16 saving", "save_on_cpu", "in-place activation" or "fused attention", `target` the
        names of modules ("blocks.*"). The step without it is the next whole one from `plain_step` on; the Trial
        is written when the one after it has ended, and with `ends_program` the program then ends.

        Raises UsageError for a change that is not known, and RecordingError where held memory is not recorded.
        """
        from gradwatch.capture.changes import check  # noqa: PLC0415 # only where a change is tried
        from gradwatch.capture.trial import Asked  # noqa: PLC0415 # likewise

        asked = Asked(check(change), target, plain_step, ends_program)
        trials = self._recording.trials if self._recording is not None else None
        if trials is None or not self._reads_held():
            raise RecordingError('A change is tried while held memory is recorded: gradwatch.watch(detail="modules").')
        trials.ask(asked)

    def failed(self, error: BaseException) -> None:
        """Take in that the program raised an error which ends what is recorded. `stop` comes next."""
        if self._recording is not None:
            self._recording.program_failed(error)

    def _reads_held(self) -> bool:
        return self.options.detail != "parameters" if self.options.held is None else self.options.held

    def _at_exit(self) -> None:
        error = _uncaught()
        if error is not None:
            self.failed(error)
        self.stop("process exit")

    def abandon(self) -> None:
        """In a forked child: take the hooks out and leave the parent's file alone."""
        recording, writer = self._recording, self._writer
        self._recording = None
        if writer is not None:
            writer.abandon()
        if recording is not None:
            recording.abandon()


def _abandon_in_child() -> None:
    while _running:
        _running.pop().abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)


def running() -> Recorder | None:
    """The recorder of this process, if one is recording."""
    return _running[0] if _running else None


def _uncaught() -> BaseException | None:
    """The error that ended the program, as Python keeps it when its traceback is printed; none in a shell's process."""
    if hasattr(builtins, "get_ipython") or hasattr(sys, "ps1"):
        return None  # there it is of an earlier input
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)  # the first from Python 3.12 on
    return error if isinstance(error, BaseException) else None


def _close(recording: Recording, writer: SessionWriter, reason: str, end: int) -> None:
    finish = Finish(
        end_ns=end,
        reason=reason,
        steps=recording.records.written,
        cost_ns=recording.cost.nanoseconds,
        records_dropped=writer.dropped,
    )
    writer.close(finish)


def _ask_at_the_end(writer: SessionWriter) -> None:
    """Add what there is to be said of the whole recording. What fails in that is told in the file, and no more."""
    if not closing or not writer.flush(PATIENCE_S):
        return
    for ask in closing:
        try:
            records = ask(writer.path)
        except Exception as error:  # noqa: BLE001 # the recording is whole without it
            text = f"What was found could not be written: {type(error).__name__}: {error}"
            records = [Notice("recorder", text, probe="closing", traceback=traceback.format_exc())]
        for record in records:
            writer.write(record, time_ns=time_ns())


def _open_writer(path: Path, run: Run, options: Options) -> SessionWriter:
    writer = SessionWriter(path, run, overwrite=options.overwrite, budget_bytes=options.budget_bytes)
    writer.on_failure = _tell_failure
    return writer


def _kept_steps(keep: KeepSteps, path: Path, run: Run, recording: Recording) -> KeptSteps:
    from gradwatch.capture.kept_steps import KeptSteps  # noqa: PLC0415 # only where steps are kept

    return KeptSteps(keep, path, run, recording.tell)


def _tell_failure(text: str) -> None:
    sys.stderr.write(f"gradwatch: {text}\n")


def _check(model: Any, options: Options) -> None:
    if options.detail not in get_args(Detail):
        raise UsageError(f"detail={options.detail!r} is not known. Choose one of: {', '.join(get_args(Detail))}.")
    if isinstance(model, (str, os.PathLike)):
        raise UsageError(
            f"The first argument is a model, not a path. To record everything: gradwatch.watch(path={model!r})"
        )
    if model is not None and not _is_module_or_modules(model):
        kind = type(model).__name__
        raise UsageError(f"model is a {kind}; it must be a torch.nn.Module, a list of them, or a dict of them by name.")


def _is_module_or_modules(model: Any) -> bool:
    if isinstance(model, nn.Module):
        return True
    if not isinstance(model, (Sequence, Mapping)):
        return False
    parts: list[Any] = list(model.values() if isinstance(model, Mapping) else model)  # pyright: ignore[reportUnknownArgumentType] # whatever the user passed
    return bool(parts) and all(isinstance(part, nn.Module) for part in parts)


def _named(model: Models | None, namer: Namer, frame: FrameType | None) -> Mapping[str, nn.Module] | None:
    if model is None:
        return None
    if isinstance(model, Mapping):
        return model
    named: dict[str, nn.Module] = {}
    for part in [model] if isinstance(model, nn.Module) else model:
        name = base = namer.name_of(part, frame) or type(part).__name__
        count = 2
        while name in named:
            name, count = f"{base}_{count}", count + 1
        named[name] = part
    return named

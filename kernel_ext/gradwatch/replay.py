"""Runs a kept step again and says whether its gradients came out the same.

    from gradwatch.replay import replay
    result = replay("run.gradwatch", 812, "train:build")

`train.build()` is yours: it returns the model, the optimizer and the step function, and is called with nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradwatch.capture.kept_options import KeepSteps
from gradwatch.errors import MissingDependency, SessionError, UsageError
from gradwatch.replay_comparison import Comparison, StepComparison
from gradwatch.replay_entry import Built, Entry, build
from gradwatch.replay_result import ReplayReport, ReplayResult
from gradwatch.replay_values import ValuesComparison, compare_values, first_in_backward
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import torch

    from gradwatch.capture.kept_files import KeptStep
    from gradwatch.capture.recorder import Options
    from gradwatch.records import Condition

__all__ = ["KeepSteps", "ReplayReport", "ReplayResult", "kept_steps", "replay"]


def kept_steps(path: str | os.PathLike[str]) -> list[int]:
    """Return the numbers of the steps that are kept beside a session."""
    _need_torch()
    from gradwatch.capture.kept_files import kept_numbers  # noqa: PLC0415 # imports torch

    return kept_numbers(Path(path))


def replay(  # noqa: PLR0913 # the public door: one keyword a question
    path: str | os.PathLike[str],
    step: int,
    entry: Entry,
    *,
    tolerance: float = 0.0,
    output: str | os.PathLike[str] | None = None,
    conditions: Sequence[Condition] = (),
) -> ReplayResult:
    """Run a kept step again, recorded, and compare its gradients with those of the session.

    The process has its random generators, switches and conditions back afterwards. What the entry or the step
    raises is raised.

    Args:
        path: the session; the steps it kept lie beside it.
        step: which step. `kept_steps(path)` says which there are.
        entry: "module:function", or the function: called with nothing, it returns `model, optimizer, step_function`
            as the program had them before training, and a GradScaler as a fourth where there was one. Several
            models are a dict by the names they were watched under, or a list; several optimizers a list.
        tolerance: relative; 0 asks for the same bits.
        output: the session of the replay (default: run.replay-812.gradwatch, overwritten).
        conditions: where to stop inside backward, as at a breakpoint (default: those that are set).

    Raises:
        UsageError: the step was not kept, or the entry does not fit it.
        SessionError: what was kept cannot be read.

    """
    _need_torch()
    from gradwatch.capture.kept_restore import preserved  # noqa: PLC0415 # imports torch
    from gradwatch.capture.recorder import Options  # noqa: PLC0415 # as above

    if tolerance < 0:
        raise UsageError(f"A tolerance cannot be {tolerance}. Give 0 for the same bits, or a number above it.")
    source = Path(path)
    target = Path(output) if output is not None else source.with_name(f"{source.stem}.replay-{step}.gradwatch")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the session that is replayed. Give another output.")
    with Session(source) as session:
        kept = _open(session, step)
        with preserved(), _conditions(conditions):
            built = build(entry, list(kept.state.models))
            again = _run(kept, built, target, Options(detail=session.run.detail, overwrite=output is None))
        with Session(target) as replayed:
            found = StepComparison(session, step, replayed, tolerance).compare()
        values = _values(kept, session, again, tolerance)
    return _result(kept, target, (found, values), tolerance)


def _values(kept: KeptStep, session: Session, again: Mapping[str, torch.Tensor], tolerance: float) -> ValuesComparison:
    """Compare the gradients that were kept with those of the replay. Raises SessionError where they cannot be read."""
    from gradwatch.capture.kept_tree import NotKept  # noqa: PLC0415 # imports torch

    try:
        return first_in_backward(compare_values(kept, again, tolerance), session, kept.state.step)
    except NotKept as error:
        raise _damaged(session.path, kept.state.step, error) from error


def _result(
    kept: KeptStep, path: Path, compared: tuple[Comparison, ValuesComparison], tolerance: float
) -> ReplayResult:
    found, values = compared
    identical = found.identical
    if values.parted:
        identical = False
    elif values.elements and identical is None:
        identical = True
    return ReplayResult(
        step=kept.state.step,
        path=path,
        identical=identical,
        compared=found.compared,
        parted=found.parted or next(iter(values.parted), None),
        parted_count=found.parted_count or len(values.parted),
        tolerance=tolerance,
        begun=kept.state.begun,
        notes=tuple(_notes(kept)),
        values=values.elements,
    )


# Opening


def _open(session: Session, step: int) -> KeptStep:
    from gradwatch.capture.kept_files import open_step  # noqa: PLC0415 # imports torch
    from gradwatch.capture.kept_tree import NotKept  # noqa: PLC0415 # as above

    try:
        kept = open_step(session.path, step)
    except FileNotFoundError:
        raise UsageError(f"Step {step} was not kept. {_which(session.path)}") from None
    except (NotKept, OSError) as error:
        raise _damaged(session.path, step, error) from error
    run = session.run
    if (kept.state.run_start_ns, kept.state.run_pid, kept.state.step) != (run.start_ns, run.pid, step):
        raise UsageError(f"{kept.folder} is of another recording than {session.path}. {_which(session.path)}")
    size, limit = sum(entry.bytes for entry in kept.entries.values()), _memory_limit()
    if size > limit:
        raise UsageError(f"Step {step} takes {size:,} bytes of memory; this machine has {limit:,} to give.")
    return kept


def _which(path: Path) -> str:
    numbers = kept_steps(path)
    if not numbers:
        return "No step of this session is. Record with: gradwatch.watch(model, path, keep_steps=100)"
    shown = ", ".join(map(str, numbers[:20]))
    return f"Kept are: {shown}{f' and {len(numbers) - 20} more' if len(numbers) > 20 else ''}."


def _damaged(path: Path, step: int, error: Exception) -> SessionError:
    return SessionError(path, f"Step {step}, kept beside {path}, cannot be read: {error}.\n{_which(path)}")


def _memory_limit() -> int:
    """Half of the machine's memory, as far as it is known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 16 << 30


def _need_torch() -> None:
    for package, install in (("torch", "torch"), ("safetensors", "'gradwatch[replay]'")):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency("A replay", package, install)


# Running


def _run(kept: KeptStep, built: Built, target: Path, options: Options) -> Mapping[str, torch.Tensor]:
    """Run the step, recorded. Returns the gradients that the optimizers were given, where some were kept."""
    import torch  # noqa: PLC0415 # only here

    from gradwatch.capture.kept_gradients import OptimizerGradients  # noqa: PLC0415 # torch
    from gradwatch.capture.kept_restore import batch_of, restore, restore_randomness, switched  # noqa: PLC0415 # torch
    from gradwatch.capture.kept_tree import NotKept  # noqa: PLC0415 # as above
    from gradwatch.capture.recorder import Recorder  # noqa: PLC0415 # as above

    try:
        restore(kept, built.training)
        arguments, named = batch_of(kept)
        gradients = OptimizerGradients(built.training) if kept.gradients is not None else None
        try:
            with Recorder(built.training.models, target, options) as recorder:
                step = recorder.wrap(built.step)
                with switched(kept.state.modes):
                    restore_randomness(kept)
                    step(*arguments, **named)
        finally:
            if gradients is not None:
                gradients.remove()
    except NotKept as error:
        raise _damaged(Path(str(kept.folder.parent).removesuffix(".steps")), kept.state.step, error) from error
    if gradients is None:
        return {}
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # the copies may be under way
    return gradients.tensors


@contextmanager
def _conditions(conditions: Sequence[Condition]) -> Generator[None]:
    """Set the conditions for as long as the replay runs."""
    if not conditions:
        yield
        return
    from gradwatch.capture.conditions import current, set_conditions  # noqa: PLC0415 # imports torch

    before = current()
    set_conditions(conditions)
    try:
        yield
    finally:
        set_conditions(before)


# Words


def _notes(kept: KeptStep) -> list[str]:
    import torch  # noqa: PLC0415 # only here

    notes: list[str] = []
    if kept.state.begun != "call":
        notes.append(
            "The step was kept after the one before it: what the program did in between is not in it. "
            "Say where a step begins: recorder.wrap(train_step)."
        )
    if kept.state.torch_version != torch.__version__:
        notes.append(f"Recorded with torch {kept.state.torch_version}, replayed with {torch.__version__}.")
    return notes


def _given_conditions(text: str | None) -> list[Condition]:
    """The conditions of a command line. Raises UsageError."""
    import json  # noqa: PLC0415 # only here

    from gradwatch.json_records import record_from  # noqa: PLC0415 # as above
    from gradwatch.records import Condition  # noqa: PLC0415 # as above

    try:
        given: object = json.loads(text or "[]")
    except ValueError as error:
        raise UsageError(f"--conditions is no JSON: {error}.") from None
    if not isinstance(given, list):
        raise UsageError(f"--conditions must be a JSON list, such as [{{...}}], not {text}.")
    return [record_from(Condition, each) for each in cast("list[object]", given)]


def from_command_line(options: Any) -> int:
    """Run `gradwatch replay`. Returns 0 for the same gradients, 1 where they parted, 2 where none can be compared."""
    import traceback  # noqa: PLC0415 # only where the program fails

    from gradwatch.errors import GradwatchError  # noqa: PLC0415 # as above
    from gradwatch.reporters.json import dumps  # noqa: PLC0415 # as above

    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    conditions = _given_conditions(options.conditions)
    try:
        rest = options.file, options.step, options.entry
        result = replay(*rest, tolerance=options.tolerance, output=options.output, conditions=conditions)
    except GradwatchError:
        raise
    except Exception:  # noqa: BLE001 # the user's own: shown as Python shows it, with our exit code for bad input
        traceback.print_exc()
        return 2
    print(dumps(cast("Any", result.report())) if options.json else result, end="" if options.json else "\n")
    return 2 if result.identical is None else 0 if result.identical else 1

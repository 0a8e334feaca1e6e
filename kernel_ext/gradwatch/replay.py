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
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from gradwatch.capture.kept_options import KeepSteps
from gradwatch.errors import MissingDependency, SessionError, UsageError
from gradwatch.replay_comparison import Comparison, Parted, StepComparison
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Generator

    from gradwatch.capture.kept_files import KeptStep
    from gradwatch.capture.kept_state import Training
    from gradwatch.capture.recorder import Options
    from gradwatch.records import Condition

__all__ = ["KeepSteps", "ReplayReport", "ReplayResult", "kept_steps", "replay"]

Entry = str | Callable[[], Any]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of a replay. `path` is the session that it recorded, of one step.

    `identical` says that every recorded statistic of every gradient is the same (to the last bit, or within
    `tolerance`); None where nothing of the step was recorded to compare with. `begun` says when the state was
    kept: "call", as the step function was called, or "after the step before" it, when what the program did in
    between (schedulers, data loading) is not in it. `notes` say what else may make a difference.
    """

    step: int
    path: Path
    identical: bool | None
    compared: dict[str, int]
    parted: Parted | None
    parted_count: int
    tolerance: float
    begun: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        text = "\n".join([_verdict(self), *self.notes, f"Recorded to {self.path}."])
        return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)  # a stranger's names

    def report(self) -> ReplayReport:
        """Return the result as `gradwatch replay --json` prints it."""
        parted = None if self.parted is None else asdict(self.parted)
        return ReplayReport(
            format="gradwatch.report",
            version=1,
            command="replay",
            step=self.step,
            path=str(self.path),
            identical=self.identical,
            compared=self.compared,
            parted=parted,
            parted_count=self.parted_count,
            tolerance=self.tolerance,
            begun=self.begun,
            notes=list(self.notes),
        )


class ReplayReport(TypedDict):
    """The shape of `gradwatch replay --json`; `parted` has the fields of `replay_comparison.Parted`."""

    format: str
    version: int
    command: str
    step: int
    path: str
    identical: bool | None
    compared: dict[str, int]
    parted: dict[str, Any] | None
    parted_count: int
    tolerance: float
    begun: str
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Built:
    """What an entry returned."""

    training: Training
    step: Callable[..., object]


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
            built = _build(entry, list(kept.state.models))
            _run(kept, built, target, Options(detail=session.run.detail, overwrite=output is None))
        with Session(target) as replayed:
            found = StepComparison(session, step, replayed, tolerance).compare()
    notes = tuple(_notes(kept))
    return _result(step, target, found, (tolerance, kept.state.begun, notes))


def _result(step: int, path: Path, found: Comparison, rest: tuple[float, str, tuple[str, ...]]) -> ReplayResult:
    tolerance, begun, notes = rest
    return ReplayResult(
        step=step,
        path=path,
        identical=found.identical,
        compared=found.compared,
        parted=found.parted,
        parted_count=found.parted_count,
        tolerance=tolerance,
        begun=begun,
        notes=notes,
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


# The entry


def _build(entry: Entry, roots: list[str]) -> Built:
    name = entry if isinstance(entry, str) else getattr(entry, "__qualname__", str(entry))
    made: Any = (_imported(entry) if isinstance(entry, str) else entry)()
    kind = type(made).__name__
    returned: list[Any] = [*cast("tuple[Any, ...]", made)] if isinstance(made, tuple) else []
    if len(returned) not in (3, 4):
        raise UsageError(
            f"{name} returned {kind}; it must return model, optimizer, step_function "
            "(and a GradScaler where there was one)."
        )
    model, optimizer, step, *scalers = returned
    if not callable(step):
        raise UsageError(f"The third that {name} returned is a {type(step).__name__}; it must be the step function.")
    from torch import nn, optim  # noqa: PLC0415 # only here

    from gradwatch.capture.kept_state import Training  # noqa: PLC0415 # imports torch

    models = _by_root(name, model, roots)
    optimizers = _listed(optimizer)
    if not all(isinstance(each, nn.Module) for each in models.values()):
        raise UsageError(f"The first that {name} returned must be a torch.nn.Module, a list or a dict of them.")
    if not all(isinstance(each, optim.Optimizer) for each in optimizers):
        raise UsageError(f"The second that {name} returned must be a torch.optim.Optimizer, a list of them, or None.")
    return Built(Training(models, optimizers, _listed(scalers[0]) if scalers else []), step)


def _by_root(name: str, model: Any, roots: list[str]) -> dict[str, Any]:
    """The entry's models by the names that the recording gave them: in order, where the entry names none."""
    if isinstance(model, Mapping):
        named = dict(cast("Mapping[str, Any]", model))
        if set(named) == set(roots):
            return {root: named[root] for root in roots}
        raise UsageError(f"{name} returned the models {', '.join(named)}; watched were: {', '.join(map(repr, roots))}.")
    models = _listed(model)
    if len(models) != len(roots):
        watched = ", ".join(map(repr, roots))
        raise UsageError(f"{name} returned {len(models)} models; {len(roots)} were watched: {watched}.")
    return dict(zip(roots, models, strict=True))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _imported(entry: str) -> Callable[[], Any]:
    module, colon, function = entry.partition(":")
    if not (module and colon and function):
        raise UsageError(f"--entry {entry!r} is not module:function, such as train:build.")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"There is no module {module!r} here (looked for in {Path.cwd()} and sys.path).") from None
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"Module {module!r} has no function {function!r}.")
    return found


# Running


def _run(kept: KeptStep, built: Built, target: Path, options: Options) -> None:
    from gradwatch.capture.kept_restore import batch_of, restore, restore_randomness, switched  # noqa: PLC0415 # torch
    from gradwatch.capture.kept_tree import NotKept  # noqa: PLC0415 # as above
    from gradwatch.capture.recorder import Recorder  # noqa: PLC0415 # as above

    try:
        restore(kept, built.training)
        arguments, named = batch_of(kept)
        with Recorder(built.training.models, target, options) as recorder:
            step = recorder.wrap(built.step)
            with switched(kept.state.modes):
                restore_randomness(kept)
                step(*arguments, **named)
    except NotKept as error:
        raise _damaged(Path(str(kept.folder.parent).removesuffix(".steps")), kept.state.step, error) from error


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


def _verdict(result: ReplayResult) -> str:
    parted = result.parted
    if parted is None:
        if result.identical is None:
            return f"Step {result.step} ran; no gradient of it was recorded to compare with."
        kinds = {"parameter": "parameters", "module": "module outputs", "node": "nodes"}
        counted = [f"{count} {kinds[kind]}" for kind, count in reversed(result.compared.items()) if count]
        how = f"are the same within {result.tolerance:g}" if result.tolerance else "are bit-identical"
        return f"Step {result.step}: the recorded statistics of the gradients of {' and '.join(counted)} {how}."
    more = f"; {result.parted_count - 1} more parted" if result.parted_count > 1 else ""
    return f"Step {result.step} parts at {_place(parted)}: {parted.what} was {parted.was}, is {parted.now}{more}."


def _place(parted: Parted) -> str:
    kind = {"node": "node ", "graph": "node ", "module": "the output of ", "parameter": ""}.get(parted.kind, "")
    inside = ", ".join(part for part in (parted.module if parted.module != parted.name else "", parted.line) if part)
    return f"{kind}{parted.name}{f' ({inside})' if inside else ''}"


def from_command_line(options: Any) -> int:
    """Run `gradwatch replay`. Returns 0 for the same gradients, 1 where they parted, 2 where none can be compared."""
    import traceback  # noqa: PLC0415 # only where the program fails

    from gradwatch.errors import GradwatchError  # noqa: PLC0415 # as above
    from gradwatch.reporters.json import dumps  # noqa: PLC0415 # as above

    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        result = replay(options.file, options.step, options.entry, tolerance=options.tolerance, output=options.output)
    except GradwatchError:
        raise
    except Exception:  # noqa: BLE001 # the user's own: shown as Python shows it, with our exit code for bad input
        traceback.print_exc()
        return 2
    print(dumps(cast("Any", result.report())) if options.json else result, end="" if options.json else "\n")
    return 2 if result.identical is None else 0 if result.identical else 1

"""Keeps steps while a program trains: gathers at a step's beginning, and a thread writes and removes.

Nothing of this may end the training: what fails is told as a notice, and that step is not kept.
"""

from __future__ import annotations

import gc
import queue
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from gradwatch.capture.kept_files import (
    remove_all,
    remove_empty,
    remove_folder,
    step_folder,
    write_gradients,
    write_step,
)
from gradwatch.capture.kept_gradients import OptimizerGradients
from gradwatch.capture.kept_state import (
    STEP_FORMAT,
    STEP_VERSION,
    KeptState,
    Modes,
    Training,
    current_modes,
    keep_model,
    keep_optimizer,
    keep_randomness,
    keep_scaler,
    parameter_names,
)
from gradwatch.capture.kept_tree import NotKept, TensorsToKeep, encode
from gradwatch.capture.statistics_layout import unseen
from gradwatch.records import Gradients, Notice, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from gradwatch.capture.kept_options import KeepSteps
    from gradwatch.records import Record, Run

PINNED_STEPS = 8
"""How many steps non-finite gradients may pin."""

MOST_WAITING = 2
"""Steps copied and not yet written; beyond that the disk is too slow for what was asked."""

_SEARCHES = 3
"""How often the process is searched for optimizers: 50 ms each in a large one."""

Kind = TypeVar("Kind")
Batch = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Copied:
    """A step on its way to the disk."""

    state: KeptState
    tensors: dict[str, torch.Tensor]
    arrived: list[Any]
    permanent: bool


@dataclass(frozen=True, slots=True)
class _CopiedGradients:
    """The gradients of a kept step on their way to the disk."""

    step: int
    tensors: dict[str, torch.Tensor]
    arrived: list[Any]


@dataclass(frozen=True, slots=True)
class _Judged:
    """The gradients of a step were seen."""

    step: int
    nonfinite: bool


class KeptSteps:
    """The steps that one recording keeps. `tell` writes a notice; it is called on the program's threads alone."""

    def __init__(self, keep: KeepSteps, path: Path, run: Run, tell: Callable[[Notice], None]) -> None:
        self._run = run
        self._keep = keep
        self._path = path
        self._tell = tell
        self._told: set[str] = set()
        self._shelf = Shelf(keep, path)
        self._searches = 0
        self._optimizers: list[weakref.ref[torch.optim.Optimizer]] = []
        self._scalers: list[weakref.ref[Any]] = []
        self._nonfinite = False
        self._gradients: tuple[int, OptimizerGradients] | None = None
        self.modes: Modes | None = None
        self.begins_in_calls = False
        """Whether the program says where its steps begin: then nothing is kept between them."""

    def clear(self) -> None:
        """Remove what the session that is overwritten kept."""
        remove_all(self._path)

    def look(self) -> None:
        """Read torch's switches, where nothing of ours hides them."""
        if not self.begins_in_calls:
            self.modes = current_modes()

    def begin(self, step: int, models: Mapping[str, nn.Module], batch: Batch | None) -> None:
        """A step begins: keep it, if it is one to keep."""
        self._take_gradients()
        self._tell_failures()
        if not self._keep.wants(step):
            return
        modes = current_modes() if batch is not None else self.modes or current_modes()
        try:
            with unseen(), torch.no_grad():
                self._copy(step, models, batch, modes)
        except NotKept as why:
            self._refuse(f"Step {step}", str(why))

    def saw(self, record: Record) -> None:
        """Read whether the gradients of a step are finite, as they are written."""
        if isinstance(record, Gradients):
            columns = [record.columns[name] for name in ("nan", "inf") if name in record.columns]
            self._nonfinite = self._nonfinite or any(bool(np.frombuffer(c.data, c.dtype).any()) for c in columns)
        elif isinstance(record, Step):
            if self._gradients is not None and self._gradients[0] <= record.number:  # records may come late
                self._take_gradients()
            if self._keep.ring:
                self._shelf.put(_Judged(record.number, self._nonfinite))
            self._nonfinite = False

    def flush(self) -> None:
        """Wait until the steps kept so far are on disk."""
        self._shelf.flush()

    def stop(self) -> None:
        """Wait until everything is written."""
        self._take_gradients()
        self._shelf.close()
        remove_empty(self._path)
        self._tell_failures()
        self._optimizers, self._scalers = [], []

    def abandon(self) -> None:
        """In a forked child, which has no thread of ours: leave the parent's files alone."""
        gradients, self._gradients = self._gradients, None
        if gradients is not None:
            gradients[1].remove()
        self._shelf.abandon()

    def _copy(self, step: int, models: Mapping[str, nn.Module], batch: Batch | None, modes: Modes) -> None:
        if self._shelf.waiting() >= MOST_WAITING:
            raise NotKept(f"{MOST_WAITING} steps still wait for the disk. Keep fewer: a larger every=")
        tensors = TensorsToKeep()
        training = self._training(models)
        state = self._state(step, training, (batch, modes), tensors)
        if tensors.bytes > self._keep.budget_bytes:
            raise NotKept(
                f"it takes {tensors.bytes:,} bytes, and budget_bytes is {self._keep.budget_bytes:,}. Give a larger one"
            )
        copies = tensors.copies()
        used = {tensor.device for tensor in tensors.tensors.values() if tensor.device.type == "cuda"}
        self._shelf.put(_Copied(state, copies, [_marked(device) for device in used], self._keep.is_permanent(step)))
        if self._keep.gradients:
            self._gradients = step, OptimizerGradients(training, self._take_gradients)

    def _take_gradients(self) -> None:
        """Every optimizer was called, or the step is over: hand over what there is, and say what is not."""
        if self._gradients is None:
            return
        (step, found), self._gradients = self._gradients, None
        missing = found.waiting
        found.remove()
        for why in found.left_out:
            self._refuse(f"A gradient of step {step}", why)
        if missing:
            self._refuse(f"Gradients of step {step}", f"{missing} optimizers were not called in it")
        if found.tensors:
            devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
            arrived = [_marked(device) for device in devices if torch.cuda.is_initialized()]
            self._shelf.put(_CopiedGradients(step, found.tensors, arrived))

    def _state(
        self, step: int, training: Training, rest: tuple[Batch | None, Modes], tensors: TensorsToKeep
    ) -> KeptState:
        batch, modes = rest
        names = parameter_names(training.models)
        return KeptState(
            format=STEP_FORMAT,
            version=STEP_VERSION,
            step=step,
            run_start_ns=self._run.start_ns,
            run_pid=self._run.pid,
            torch_version=str(torch.__version__),
            begun="after the step before" if batch is None else "call",
            arguments=None if batch is None else encode(batch[0], "argument ", tensors),
            named=None if batch is None else encode(batch[1], "arguments", tensors),
            models={root: keep_model(root, model, tensors) for root, model in training.models.items()},
            optimizers=[keep_optimizer(optimizer, names, tensors) for optimizer in training.optimizers],
            scalers=[keep_scaler(scaler, tensors) for scaler in training.scalers],
            modes=modes,
            randomness=keep_randomness(tensors),
        )

    def _training(self, models: Mapping[str, nn.Module]) -> Training:
        if not models:
            raise NotKept("no model is known yet. Name it: gradwatch.watch(model, ...)")
        parameters = set(parameter_names(models))
        self._search()
        mine = [each for each in _alive(self._optimizers) if _steps_any(each, parameters)]
        return Training(models, mine, [scaler for scaler in _alive(self._scalers) if scaler.is_enabled()])

    def _search(self) -> None:
        """Find optimizers and gradient scalers. Those made after the third kept step are seen only if none were."""
        if self._searches >= _SEARCHES and _alive(self._optimizers):
            return
        self._searches += 1
        found = gc.get_objects()
        self._optimizers = [weakref.ref(thing) for thing in found if issubclass(type(thing), torch.optim.Optimizer)]
        self._scalers = [weakref.ref(thing) for thing in found if issubclass(type(thing), torch.amp.GradScaler)]  # pyright: ignore[reportPrivateImportUsage] # public in the documentation

    def _refuse(self, what: str, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            were = "were" if what.startswith("Gradients") else "was"
            self._tell(Notice("recorder", f"{what} {were} not kept: {why}."))

    def _tell_failures(self) -> None:
        while self._shelf.failures:
            self._refuse(*self._shelf.failures.pop(0))


def _alive(references: list[weakref.ref[Kind]]) -> list[Kind]:
    return [thing for reference in references if (thing := reference()) is not None]


def _steps_any(optimizer: torch.optim.Optimizer, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for group in optimizer.param_groups for parameter in group["params"])


def _marked(device: torch.device) -> Any:
    """An event on the device behind the copies of now."""
    with torch.cuda.device(device):
        event = torch.cuda.Event()
        event.record()
    return event


_Item = _Copied | _CopiedGradients | _Judged | threading.Event


class Shelf:
    """The kept steps on disk. One thread writes, judges and removes; it alone knows what is there."""

    def __init__(self, keep: KeepSteps, path: Path) -> None:
        self.failures: list[tuple[str, str]] = []
        self._keep = keep
        self._path = path
        self._queue: queue.SimpleQueue[_Copied | _CopiedGradients | _Judged | threading.Event | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._copied = self._written = 0
        self._sizes: dict[int, int] = {}
        self._ring: list[int] = []
        self._pinned: list[int] = []
        self._was_nonfinite = False

    def waiting(self) -> int:
        return self._copied - self._written

    def put(self, item: _Copied | _CopiedGradients | _Judged) -> None:
        self._copied += isinstance(item, _Copied)
        self._queue.put(item)
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name="gradwatch-steps", daemon=True)
            # pydevd leaves threads with this mark running when it suspends the others.
            thread.pydev_do_not_trace = True  # type: ignore[attr-defined]  # pydevd's own attribute
            thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]  # as above
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # near the interpreter's end: closing does the rest
                self._thread = None

    def flush(self) -> None:
        """Wait until everything that was put is written."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._queue.put(None)
        if self._thread is None:
            self._serve()
        else:
            self._thread.join()
        self._thread = None

    def abandon(self) -> None:
        self._queue, self._thread = queue.SimpleQueue(), None

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            if isinstance(item, _Judged):
                self._judge(item)
                continue
            is_step = isinstance(item, _Copied)
            try:
                if is_step:
                    self._write(item)
                else:
                    self._write_gradients(item)
            except Exception as error:  # noqa: BLE001 # whatever it is, the program goes on
                what = f"Step {item.state.step}" if is_step else f"Gradients of step {item.step}"
                self.failures.append((what, _reason(error)))
            self._written += is_step

    def _write(self, copied: _Copied) -> None:
        for event in copied.arrived:
            event.synchronize()
        step = copied.state.step
        needed = sum(tensor.numel() * tensor.element_size() for tensor in copied.tensors.values())
        there = sum(self._sizes.values()) - self._sizes.get(step, 0)
        if there + needed > self._keep.budget_bytes:
            raise NotKept(f"the steps kept before it take {there:,} bytes of a budget of {self._keep.budget_bytes:,}")
        self._sizes[step] = write_step(self._path, copied.state, copied.tensors)
        if not copied.permanent and step not in self._ring:
            self._ring.append(step)

    def _write_gradients(self, copied: _CopiedGradients) -> None:
        for event in copied.arrived:
            event.synchronize()
        if copied.step not in self._sizes:
            return  # the step itself was not kept, which was told, or has been let go
        needed = sum(tensor.numel() * tensor.element_size() for tensor in copied.tensors.values())
        there = sum(self._sizes.values())
        if there + needed > self._keep.budget_bytes:
            raise NotKept(f"what was kept before takes {there:,} bytes of a budget of {self._keep.budget_bytes:,}")
        self._sizes[copied.step] += write_gradients(self._path, copied.step, copied.tensors)

    def _judge(self, judged: _Judged) -> None:
        """Pin the ring where non-finite gradients begin, then let the oldest of those judged go."""
        begins = judged.nonfinite and not self._was_nonfinite
        self._was_nonfinite = judged.nonfinite
        if self._keep.on_nonfinite and begins:
            room = PINNED_STEPS - len(self._pinned)
            seen = [step for step in self._ring if step <= judged.step]
            pinned = seen[-min(room, self._keep.ring) :] if room else []
            self._pinned += pinned
            self._ring = [step for step in self._ring if step not in pinned]
        done = [step for step in self._ring if step <= judged.step]
        for step in done[: len(done) - self._keep.ring] if len(done) > self._keep.ring else []:
            self._ring.remove(step)
            self._sizes.pop(step, None)
            remove_folder(step_folder(self._path, step))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error) if isinstance(error, NotKept) else f"{type(error).__name__}: {error}"

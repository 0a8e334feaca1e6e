"""Tries one change for real: one step as the program has it, the next with the change, both measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time_ns
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.changes import Applied, applied
from gradwatch.capture.held import IS_HELD
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.observers import Observer
from gradwatch.records import ChangeKind, Notice, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep

COMPARED_BYTES = 1 << 26
"""Gradients are compared where all of them together are no larger: a copy is kept from the one step to the next."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to try. `plain_step` is the first step that may be the one without it; `ends_program` ends it afterwards."""

    change: ChangeKind
    target: str = "*"
    plain_step: int = 0
    ends_program: bool = False


@dataclass(slots=True)
class Measured:
    """One step. `batch` are identity and version of what the models were given, `versions` those of parameters."""

    number: int
    peak: int = -1
    device_peak: int = -1
    start_ns: int = field(default_factory=time_ns)
    step_ns: int = -1
    batch: tuple[tuple[int, int], ...] = ()
    inputs: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    versions: list[int] = field(default_factory=list[int])
    random: torch.Tensor | None = None
    clean: bool = True
    gradients: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])


class Trials(Observer):
    """Waits until it is asked. Then it keeps one step's gradients and batch until the next one ends."""

    name = "trial"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._asked: Asked | None = None
        self._plain: Measured | None = None
        self._now: Measured | None = None
        self._block: AbstractContextManager[Applied] | None = None
        self._applied: Applied | None = None
        self._ends = False
        recording.trials = self

    def ask(self, asked: Asked) -> None:
        """Try this with the next step that begins after one that was measured without."""
        self._asked, self._plain = asked, None
        self._recording.wants_details = True
        if self._recording.steps.is_at_beginning:
            self._now = Measured(self._recording.steps.number)

    def stop(self) -> None:
        self._take_back()
        self._asked = self._plain = self._now = None

    def step_begins(self, number: int) -> None:
        if self._ends:
            self._ends = False
            raise SystemExit(0)  # the program's own way to end: its finally blocks and exit handlers run
        self._now = None
        if self._asked is None or not self._recording.steps.is_at_beginning:
            return  # the first optimizer step ends its step when the second comes: then the next one is over already
        if self._plain is not None and self._plain.number == number - 1:
            self._apply(self._asked)
        self._now = Measured(number)

    def module_enters(self, number: int, module: nn.Module, arguments: Any) -> None:
        del number, module
        now = self._now
        if now is not None and not now.inputs:
            now.inputs = [tensor for tensor in tensors_within(arguments) if tensor.grad_fn is None]
            now.batch = tuple((id(tensor), tensor._version) for tensor in now.inputs)
            now.versions = self._recording.parameters.versions()
            now.random = torch.get_rng_state()
            leaves = (watched.ref() for watched in self._recording.parameters)
            now.clean = all(leaf is None or leaf.grad is None for leaf in leaves)

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        del outputs
        now = self._now
        if now is not None and call.is_outermost and call.saved is not None:
            now.peak = max(now.peak, call.held_bytes)
            now.device_peak = max(now.device_peak, _device_bytes(call))

    def backward_ends(self, call: BackwardCall) -> None:
        now = self._now
        if now is not None and call.is_outermost and call.call == "backward" and now.clean:
            leaves = [(watched.id, watched.ref()) for watched in self._recording.parameters]
            found = {number: leaf.grad for number, leaf in leaves if leaf is not None and leaf.grad is not None}
            if sum(gradient.numel() * gradient.element_size() for gradient in found.values()) <= COMPARED_BYTES:
                now.gradients = {number: gradient.detach().clone() for number, gradient in found.items()}

    def step_ends(self, step: OpenStep) -> None:
        now, asked = self._now, self._asked
        if now is None or asked is None:
            return
        now.step_ns = time_ns() - now.start_ns  # with what recording costs, in both steps
        if self._applied is not None and self._plain is not None:
            done = self._applied
            self._take_back()
            self._recording.write(self._trial(asked, done, self._plain, now))
            self._ends = asked.ends_program
            self._asked = self._plain = self._now = None
            self._recording.wants_details = False
        elif now.peak >= 0 and step.number >= asked.plain_step:
            self._plain = now

    def program_fails(self, error: BaseException) -> None:
        self._gone_wrong(error)

    def backward_fails(self, call: BackwardCall, error: BaseException) -> None:
        del call
        self._gone_wrong(error)

    def _gone_wrong(self, error: BaseException) -> None:
        if self._applied is None or self._asked is None:
            return
        text = f"{self._asked.change} could not be tried: step {self._recording.steps.number} raised {error}"
        self._take_back()
        self._asked = self._plain = self._now = None
        self._recording.tell(Notice("recorder", text))

    def _apply(self, asked: Asked) -> None:
        block = applied(asked.change, asked.target, self._recording.modules, self._recording.graph.class_of)
        self._applied = block.__enter__()
        self._block = block

    def _take_back(self) -> None:
        block, self._block, self._applied = self._block, None, None
        if block is not None:
            block.__exit__(None, None, None)

    def _trial(self, asked: Asked, done: Applied, before: Measured, after: Measured) -> Trial:
        on_device = before.device_peak > 0
        notes = [done.note]
        if asked.change in ("checkpoint", "in-place activation") and not done.modules:
            notes = [f"nothing was changed: no module's name fits {asked.target!r}, or none can be"]
        return Trial(
            change=asked.change,
            target=asked.target,
            modules=done.modules,
            before_step=before.number,
            after_step=after.number,
            before_peak=before.device_peak if on_device else before.peak,
            after_peak=after.device_peak if on_device else after.peak,
            before_step_ns=before.step_ns,
            after_step_ns=after.step_ns,
            same_gradients=same_gradients(before, after),
            note="; ".join([*notes, *_difference(before, after)]),
        )


def _device_bytes(call: BackwardCall) -> int:
    """Held bytes that lie on a device with memory of its own: what is moved to the CPU frees those."""
    assert call.saved is not None  # noqa: S101 # asked by the caller
    rows = zip(call.saved.storage_bytes, call.saved.storage_device, call.classes, strict=True)
    return sum(size for size, device, kind in rows if device.type != "cpu" and IS_HELD[kind])


def are_comparable(before: Measured, after: Measured) -> bool:
    """Whether both steps saw the same batch, parameters and random numbers, so that their gradients must agree."""
    if not before.batch or before.batch != after.batch or before.versions != after.versions:
        return False
    if before.random is None or after.random is None or not torch.equal(before.random, after.random):
        return False
    return bool(before.gradients) and before.gradients.keys() == after.gradients.keys()


def same_gradients(before: Measured, after: Measured) -> bool | None:
    """Whether the gradients came out the same, to the last bit; None where the steps cannot be compared."""
    if not are_comparable(before, after):
        return None
    pairs = ((gradient, after.gradients[number]) for number, gradient in before.gradients.items())
    return all(torch.equal(one, other) for one, other in pairs)


def _difference(before: Measured, after: Measured) -> list[str]:
    """By how much gradients of comparable steps differ, in words."""
    if same_gradients(before, after) is not False:
        return []
    squares = [0.0, 0.0]
    for number, gradient in before.gradients.items():
        squares[0] += float((gradient - after.gradients[number]).double().square().sum())
        squares[1] += float(gradient.double().square().sum())
    return [f"gradients differ by {(squares[0] / max(squares[1], 1e-300)) ** 0.5:.2g} of their norm"]

"""Sees what a GradScaler does: which losses it scaled, by how much, and which optimizer steps it left out.

It says neither through a hook. So `scale`, `step` and `__init__` of the class (and of subclasses with their own) have
stand-ins while something records. What `scale` made is noted on its autograd node, where a root that the
program divides or adds up before backward still leads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.device_values import DeviceValues, is_readable
from gradwatch.capture.statistics_layout import unseen
from gradwatch.capture.torch_internals import is_compiling, is_functorch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.probes import Cost, Probe

SCALER: Any = torch.amp.GradScaler
NOTE = "gradwatch loss scale"
"""The key in a node's metadata."""

REACH = 32
"""Nodes that are looked at behind a root, for one that `scale` made."""

_METHODS = ("__init__", "scale", "step")


@dataclass(slots=True)
class Scaled:
    """What `scale` was given and multiplied it with, as they were. On a device: copies, until a backward call asks."""

    loss: float | torch.Tensor | None
    scale: float | torch.Tensor | None


class LossReading:
    """The loss of one backward call without its scale, and the scale; perhaps on their way from a device."""

    __slots__ = ("_is_scaled", "_read", "_scaled_before")

    def __init__(self, root: object, scaled: Scaled | None, *, is_root: bool) -> None:
        self._is_scaled = not is_root
        self._scaled_before: DeviceValues | None = None
        loss = scaled.loss if scaled is not None and is_root else root
        self._read = DeviceValues([loss, None if scaled is None else scaled.scale])

    def was_scaled(self, scale: torch.Tensor) -> None:
        """The root came from `scale` before the recording began."""
        self._is_scaled, self._scaled_before = True, DeviceValues([scale])

    def is_ready(self) -> bool:
        return self._read.is_ready() and (self._scaled_before is None or self._scaled_before.is_ready())

    def loss_and_scale(self) -> tuple[float | None, float | None]:
        loss, scale = self._read.values()
        if self._scaled_before is not None:
            (scale,) = self._scaled_before.values()
        if self._is_scaled and loss is not None:
            loss = loss / scale if scale else None
        return loss, scale


class Omission:
    """An optimizer step that a scaler was asked for, and that no hook of the optimizer saw."""

    __slots__ = ("_found",)

    def __init__(self, scaler: Any, optimizer: torch.optim.Optimizer) -> None:
        states: Any = getattr(scaler, "_per_optimizer_states", {})
        found: Any = states.get(id(optimizer), {}).get("found_inf_per_device", {})
        self._found = DeviceValues(list(found.values()))

    def is_ready(self) -> bool:
        return self._found.is_ready()

    def is_skip(self) -> bool:
        """Whether NaN or Inf was found, as far as is known. Else the optimizer stepped where no hook runs: compiled."""
        found = self._found.values()
        return not found or any(value is None or value for value in found)


class LossScales:
    """Stands in for the scaler's methods; `omitted(optimizer, what)` is told of steps that no optimizer hook saw."""

    def __init__(
        self, told: tuple[Probe, Cost], awaited: set[int], omitted: Callable[[torch.optim.Optimizer, Omission], None]
    ) -> None:
        self._probe, self._cost = told
        self._awaited = awaited
        self._omitted = omitted
        self._stand_ins: list[_StandIn] = []
        self._is_used = False
        self.latest_call: Callable[[], BackwardCall | None] = lambda: None

    def start(self) -> None:
        for kind in _with_subclasses(SCALER):
            self._adopt(kind)

    def stop(self) -> None:
        for stand_in in reversed(self._stand_ins):
            stand_in.give_back()
        self._stand_ins = []

    def read(self, outputs: Sequence[Any]) -> LossReading | None:
        """The loss that a backward call starts from, None where it starts from several roots."""
        if len(outputs) != 1:
            return None
        root = outputs[0]
        scaled, depth = self._scaled(root) if self._is_used else (None, 0)
        if scaled is None and not is_readable(root):
            return None
        return LossReading(root, scaled, is_root=depth == 0)

    def _scaled(self, root: object) -> tuple[Scaled | None, int]:
        """What `scale` noted at or behind a root, and how many nodes were looked at before."""
        if not isinstance(root, torch.Tensor) or is_functorch(root):
            return None, 0
        waiting: deque[Any] = deque([root.grad_fn])
        for depth in range(REACH):
            node = waiting.popleft() if waiting else None
            if node is None:
                break
            noted = node.metadata.get(NOTE)
            if noted is not None:
                return noted, depth
            waiting += [after for after, _ in node.next_functions if after is not None]
        return None, 0

    def _adopt(self, kind: type) -> None:
        bodies = (self._made, self._scale, self._step)
        known = {(each.kind, each.name) for each in self._stand_ins}
        for name, body in zip(_METHODS, bodies, strict=True):
            is_own = name in vars(kind) and (name != "__init__" or kind is SCALER)
            if is_own and (kind, name) not in known:
                self._stand_ins.append(_StandIn(kind, name, body))

    def _made(self, original: Callable[..., Any], scaler: Any, *arguments: Any, **options: Any) -> Any:
        made = original(scaler, *arguments, **options)
        self._guarded(lambda: self._adopt_subclass(scaler))
        return made

    def _adopt_subclass(self, scaler: Any) -> None:
        for kind in type(scaler).__mro__:
            if issubclass(kind, SCALER):
                self._adopt(kind)

    def _scale(self, original: Callable[..., Any], scaler: Any, *arguments: Any, **options: Any) -> Any:
        scaled = original(scaler, *arguments, **options)
        given = arguments[0] if arguments else options.get("outputs")
        self._guarded(lambda: self._note(scaler, given, scaled))
        return scaled

    def _note(self, scaler: Any, given: Any, scaled: Any) -> None:
        scale = getattr(scaler, "_scale", None)
        if not scaler.is_enabled() or not isinstance(scale, torch.Tensor):
            return
        self._is_used = True
        for before, after in _pairs(given, scaled):
            if after.grad_fn is not None and not is_functorch(after):
                node: Any = after.grad_fn
                node.metadata[NOTE] = Scaled(_as_it_is(before), _as_it_is(scale))

    def _step(self, original: Callable[..., Any], scaler: Any, optimizer: Any, *arguments: Any, **options: Any) -> Any:
        # A subclass's own step runs this one again: the outer one tells.
        if not scaler.is_enabled() or not _has_hooks(optimizer) or id(optimizer) in self._awaited:
            return original(scaler, optimizer, *arguments, **options)
        if not self._is_used:
            self._guarded(lambda: self._scaled_before_the_recording(scaler))
        self._awaited.add(id(optimizer))
        try:
            result = original(scaler, optimizer, *arguments, **options)
            if id(optimizer) in self._awaited:
                self._guarded(lambda: self._omitted(optimizer, Omission(scaler, optimizer)))
        finally:
            self._awaited.discard(id(optimizer))
        return result

    def _scaled_before_the_recording(self, scaler: Any) -> None:
        call, scale = self.latest_call(), getattr(scaler, "_scale", None)
        if call is not None and call.loss is not None and isinstance(scale, torch.Tensor):
            call.loss.was_scaled(scale)
        self._is_used = True

    def _guarded(self, body: Callable[[], None]) -> None:
        if not self._probe.enabled:
            return
        start = perf_counter_ns()
        try:
            with unseen():
                body()
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()
        self._cost.since(start)


class _StandIn:
    """What stands in for one method of a class, until it is given back."""

    def __init__(self, kind: Any, name: str, body: Callable[..., Any]) -> None:
        self.kind, self.name = kind, name
        self._original: Callable[..., Any] = vars(kind)[name]
        self._is_on = True
        self._function = self._standing_in(body)
        setattr(kind, name, self._function)

    def _standing_in(self, body: Callable[..., Any]) -> Callable[..., Any]:
        original = self._original

        def stand_in(scaler: Any, *arguments: Any, **options: Any) -> Any:
            if is_compiling() or not self._is_on:
                return original(scaler, *arguments, **options)
            return body(original, scaler, *arguments, **options)

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(stand_in, name, getattr(original, name))
        stand_in.__dict__.update(vars(original), __wrapped__=original)
        return stand_in

    def give_back(self) -> None:
        self._is_on = False  # for whoever wrapped ours, or still holds it
        if getattr(self.kind, self.name) is self._function:
            setattr(self.kind, self.name, self._original)


def _has_hooks(optimizer: Any) -> bool:
    step: Any = optimizer.__class__.step
    return isinstance(optimizer, torch.optim.Optimizer) and getattr(step, "hooked", False)


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


def _pairs(given: Any, scaled: Any) -> Iterator[tuple[object, torch.Tensor]]:
    if isinstance(scaled, torch.Tensor):
        yield given, scaled
    elif isinstance(scaled, (list, tuple)) and isinstance(given, (list, tuple)):
        for before, after in zip(given, scaled, strict=False):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] # the program's
            yield from _pairs(before, after)


def _as_it_is(tensor: object) -> float | torch.Tensor | None:
    """A value that may change before backward asks; on a device a copy of it."""
    if not isinstance(tensor, torch.Tensor) or not is_readable(tensor):
        return None
    return tensor.detach().clone() if tensor.is_cuda else DeviceValues([tensor]).values()[0]

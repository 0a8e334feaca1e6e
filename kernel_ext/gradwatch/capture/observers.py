"""Who else looks on while a recording runs: each finds out one thing, writes its own records, and fails alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradwatch.capture.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import nn

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording
    from gradwatch.capture.steps import OpenStep
    from gradwatch.records import Notice


class Observer:
    """One who looks on. Of the methods below only those that a subclass overrides are called.

    All run on the program's threads, inside its training: none may wait for a device, keep a tensor alive longer than
    it says, or change the program's random numbers. What one raises switches that observer off, and is told.
    """

    name = "observer"

    def start(self, recording: Recording) -> None:
        """The recording begins: its tables are there, its hooks are in."""

    def stop(self) -> None:
        """It ends: hooks, patches and modes of the observer's own come out. Also called after it failed."""

    def step_begins(self, number: int) -> None:
        """A step begins: when the one before it ended, or the recording began."""

    def step_ends(self, step: OpenStep) -> None:
        """A step ended. Its statistics may still be on the device."""

    def module_enters(self, number: int, module: nn.Module, arguments: Any) -> None:
        """A module's forward begins; `number` is its id. Not called at `parameters` where a model is given."""

    def module_leaves(self, number: int, module: nn.Module, output: Any) -> None:
        """A module's forward returned `output`."""

    def module_is_traced(self) -> None:
        """A module is called by torch.jit.trace: nothing else is told of that call."""

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        """The engine is about to run: the graph behind `outputs` is alive, `call.walk` is it where it was walked."""

    def backward_fails(self, call: BackwardCall, error: BaseException) -> None:
        """The engine raised `error`: `call.walk` is still there. `backward_ends` follows."""

    def backward_ends(self, call: BackwardCall) -> None:
        """The call is over and its gradients are noted in `call`, whose `walk` is let go of after this."""

    def before_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        """An optimizer's step begins."""

    def after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        """An optimizer's step ended."""

    def program_fails(self, error: BaseException) -> None:
        """The program raised `error` and nothing of its own caught it; the recording ends next."""


EVENTS = (
    "step_begins",
    "step_ends",
    "module_enters",
    "module_leaves",
    "module_is_traced",
    "backward_begins",
    "backward_fails",
    "backward_ends",
    "before_optimizer",
    "after_optimizer",
    "program_fails",
)


class Observers:
    """Hands each event to the observers that wait for it, one by one, each behind a switch of its own."""

    def __init__(self, observers: Sequence[Observer], tell: Callable[[Notice], None]) -> None:
        self._all = [(each, Probe(each.name, tell)) for each in observers]
        self._waiting = {
            event: [(getattr(observer, event), probe) for observer, probe in self._all if _overrides(observer, event)]
            for event in EVENTS
        }

    def start(self, recording: Recording) -> None:
        for observer, probe in self._all:
            self._guarded(probe, lambda observer=observer: observer.start(recording))

    def stop(self) -> None:
        for observer, probe in self._all:
            probe.enabled = True  # also of one that failed: what it put in must come out
            self._guarded(probe, observer.stop)

    def awaits(self, event: str) -> bool:
        """Whether any observer waits for an event, one of EVENTS."""
        return bool(self._waiting[event])

    def tell(self, event: str, *what: Any) -> None:
        """Hand on an event, one of EVENTS. Whoever calls adds the time to the recording's cost."""
        for method, probe in self._waiting[event]:
            if probe.enabled:
                try:
                    method(*what)
                except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                    probe.failed()

    def _guarded(self, probe: Probe, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception:  # noqa: BLE001 # as above
            probe.failed()


def _overrides(observer: Observer, event: str) -> bool:
    return getattr(type(observer), event) is not getattr(Observer, event)

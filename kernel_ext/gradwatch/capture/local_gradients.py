"""This rank's own gradients, before they are reduced over the ranks: one hook a parameter while backward runs.

The hooks are put on when an outermost call begins, behind those of the program, so that they see what it would reduce:
DDP reduces in hooks of its own behind the accumulation, FSDP once its group's gradients are complete.
"""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from torch.nn.modules.module import register_module_module_registration_hook

from gradwatch.capture.reducers import gathered, is_distributed, is_wrapper, reducers
from gradwatch.capture.torch_internals import is_compiling, without_function
from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.parameters import ParameterTable, Watched
    from gradwatch.capture.probes import Cost, Probe
    from gradwatch.capture.reducers import Reducer

LOOKS = 50
"""How often at most all objects are searched for reducing modules: whenever parameters or modules were added."""

_FLAT = (
    "local gradients of {} are not observable: FSDP (version 1) with use_orig_params gives autograd one flat "
    "parameter for all of them. FSDP version 2 (fully_shard) has them."
)


class LocalGradients:
    """Adds to each running call the gradients that reach the leaves of reducing modules."""

    def __init__(self, tables: tuple[ParameterTable, ModuleTable], told: tuple[Probe, Cost]) -> None:
        self._parameters, self._modules = tables
        self._probe, self._cost = told
        self.current: Callable[[], BackwardCall | None] = lambda: None
        self.tell: Callable[[Notice], None] = lambda _: None
        self._reducers: list[Reducer] = []
        self._looked_at = (-1, -1)
        self._looks = 0
        self._running = 0
        self._hooks: dict[int, tuple[Any, Any]] = {}
        self._wrapping: Any = None
        self._lock = threading.Lock()
        self._is_flat_told = False

    def start(self) -> None:
        """Look out for models that are wrapped from now on. Where module hooks run, those see the wrapper called."""
        self._wrapping = register_module_module_registration_hook(self._registered)

    def _registered(self, module: Any, _name: str, _submodule: Any) -> None:
        if not is_compiling() and is_wrapper(module):
            self._looked_at = (-1, -1)

    @property
    def is_attached(self) -> bool:
        """Whether leaves of reducing modules have our hooks now."""
        return bool(self._hooks)

    def begin(self, call: BackwardCall) -> None:
        """An outermost call begins. Hooks stay until the last one that runs has ended."""
        if call.call == "grad" or not self._probe.enabled or not is_distributed():
            return
        with self._lock:
            call.sees_local = True
            self._running += 1
            if self._running == 1:
                self._look()
                self._attach()

    def graph_was_read(self, call: BackwardCall) -> None:
        """Parameters that only the graph told of."""
        if call.sees_local and self._looked_at[0] != len(self._parameters):
            with self._lock:
                self._look()
                self._attach()

    def parameter_of(self, leaf: torch.Tensor) -> torch.Tensor:
        """The sharded parameter for which `leaf` stands in the graph, else `leaf` itself."""
        pairs = (pair for reducer in self._reducers if reducer.is_sharding for pair in reducer.leaves())
        return next((parameter for parameter, unsharded in pairs if unsharded is leaf), leaf)

    def end(self, call: BackwardCall) -> None:
        """An outermost call ended."""
        if not call.sees_local:
            return
        with self._lock:
            call.sees_local = False
            self._running -= 1
            if self._running == 0:
                self._detach()

    def stop(self) -> None:
        """Take the hooks off, also in the middle of a call."""
        if self._wrapping is not None:
            self._wrapping.remove()
            self._wrapping = None
        with self._lock:
            self._detach()

    def _look(self) -> None:
        """Search for reducing modules where there may be new ones."""
        there = (len(self._parameters), self._modules.count)
        if there == self._looked_at or self._looks == LOOKS:
            return
        self._looked_at = there
        self._looks += 1
        self._reducers = reducers()

    def _attach(self) -> None:
        for reducer in self._reducers:
            for parameter, leaf in reducer.leaves():
                watched = self._parameters.find(parameter)
                if reducer.is_flat:
                    for tensor in gathered(leaf):
                        self._parameters.storages.add(tensor, "parameter")
                if watched is None:
                    continue
                if reducer.is_sharding:
                    self._parameters.stand_in(leaf, watched)
                if leaf.requires_grad and leaf.is_leaf and id(leaf) not in self._hooks:
                    self._hooks[id(leaf)] = leaf, _hooked(leaf, self._hook(watched))
            if reducer.is_flat and not self._is_flat_told:
                self._tell_flat(reducer)

    def _detach(self) -> None:
        for leaf, handle in self._hooks.values():
            handle.remove()
            if not leaf._backward_hooks:
                leaf._backward_hooks = None  # as it was: copies and the compiler look at whether it is None
        self._hooks = {}

    def _hook(self, watched: Watched) -> Callable[[torch.Tensor], None]:
        number, probe, cost = watched.id, self._probe, self._cost

        def seen(gradient: torch.Tensor) -> None:
            if is_compiling() or not probe.enabled:
                return
            start = perf_counter_ns()
            try:
                call = self.current()
                if call is not None:
                    call.local_rows.append((number, call.rows.add(gradient)))
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()
            cost.since(start)

        return seen

    def _tell_flat(self, reducer: Reducer) -> None:
        module: Any = reducer.module()
        if module is not None and getattr(module, "_use_orig_params", False):
            self._is_flat_told = True
            self.tell(Notice("not observable", _FLAT.format(type(module).__name__)))


def part_seen(part: str) -> str:
    """What a session says, once, about gradients of which a rank has a part."""
    return f"Of DTensors this rank sees its {part} alone: gradients, norms and update ratios are of that."


def _hooked(leaf: Any, hook: Callable[[torch.Tensor], None]) -> Any:
    with without_function():  # a subclass would be asked
        return leaf.register_hook(hook)

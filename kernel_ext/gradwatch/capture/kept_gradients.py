"""Gradients as an optimizer was given them: each parameter's `.grad`, copied as `step()` is called.

Clipping and unscaling are in them, and they are there before anything sets them to None. Used by the recorder, which
keeps them with a step, and by a replay, which compares its own with those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.kept_state import parameter_names
from gradwatch.capture.kept_tree import TensorsToKeep, unfit
from gradwatch.capture.statistics_layout import unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.capture.kept_state import Training


class OptimizerGradients:
    """Waits for the first call of each optimizer; `done` is called when all were, with no error let out.

    `tensors` are copies by "root:path", on their way to the CPU's memory; `left_out` says why others are not there.
    """

    def __init__(self, training: Training, done: Callable[[], None] | None = None) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.left_out: list[str] = []
        self._names = parameter_names(training.models)
        self._done = done
        self._handles: dict[int, Any] = {}
        for number, optimizer in enumerate(training.optimizers):
            self._handles[number] = optimizer.register_step_pre_hook(self._hook(number))

    @property
    def waiting(self) -> int:
        """How many optimizers were not called yet."""
        return len(self._handles)

    def remove(self) -> None:
        """Take the hooks away that are still there."""
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.remove()

    def _hook(self, number: int) -> Callable[..., None]:
        def before_step(optimizer: torch.optim.Optimizer, _arguments: Any, _named: Any) -> None:
            if torch.compiler.is_compiling() or number not in self._handles:
                return
            try:
                self._handles.pop(number).remove()
                with unseen(), torch.no_grad():
                    self._copy(optimizer)
            except Exception as error:  # noqa: BLE001 # the program's optimizer goes on, whatever it was
                self.left_out.append(f"{type(error).__name__}: {error}")
            if self._done is not None and not self._handles:
                self._done()

        return before_step

    def _copy(self, optimizer: torch.optim.Optimizer) -> None:
        found = TensorsToKeep()
        names: dict[str, str] = {}
        for parameter in (each for group in optimizer.param_groups for each in group["params"]):
            name = self._names.get(id(parameter))
            if name is None or parameter.grad is None:
                continue
            why_not = unfit(parameter.grad)
            if why_not:
                self.left_out.append(f"the gradient of {name} is {why_not}")
            else:
                names[name] = found.add(name, parameter.grad)
        copies = found.copies()
        self.tensors |= {name: copies[kept] for name, kept in names.items()}

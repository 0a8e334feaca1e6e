"""Optimizer steps, from torch's global hooks: the gradients used, parameter norms and update ratios."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradwatch.capture.torch_internals import is_compiling

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class OptimizerHooks:
    """Calls `before(optimizer, id, has_closure)` and `after(optimizer, id)` around every optimizer.step()."""

    def __init__(
        self,
        before: Callable[[torch.optim.Optimizer, int, bool], None],
        after: Callable[[torch.optim.Optimizer, int], None],
    ) -> None:
        self._before = before
        self._after = after
        self._ids: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []
        self.awaited: set[int] = set()
        """Optimizers (their `id`) that something waits for: a step that the hooks see takes its own out."""

    def start(self) -> None:
        self._handles = [
            register_optimizer_step_pre_hook(self._pre),
            register_optimizer_step_post_hook(self._post),
        ]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def id_of(self, optimizer: torch.optim.Optimizer) -> int:
        return self._ids.setdefault(optimizer, len(self._ids))

    def known(self) -> list[torch.optim.Optimizer]:
        """The optimizers that have stepped and are still there."""
        return list(self._ids)

    def _pre(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        if is_compiling():
            return
        self.awaited.discard(id(optimizer))
        closure = arguments[1] if len(arguments) > 1 else options.get("closure")  # the first is the optimizer
        self._before(optimizer, self.id_of(optimizer), closure is not None)

    def _post(self, optimizer: torch.optim.Optimizer, _arguments: Any, _options: Any) -> None:
        if not is_compiling():
            self._after(optimizer, self.id_of(optimizer))

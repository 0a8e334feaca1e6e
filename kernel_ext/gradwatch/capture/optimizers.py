"""Optimizer steps, from torch's global hooks: the gradients used, parameter norms and update ratios."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class OptimizerHooks:
    """Calls `before(optimizer, id)` and `after(optimizer, id)` around every optimizer.step() of the process."""

    def __init__(
        self,
        before: Callable[[torch.optim.Optimizer, int], None],
        after: Callable[[torch.optim.Optimizer, int], None],
    ) -> None:
        self._before = before
        self._after = after
        self._ids: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []

    def start(self) -> None:
        self._handles = [
            register_optimizer_step_pre_hook(self._pre),
            register_optimizer_step_post_hook(self._post),
        ]

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _id_of(self, optimizer: torch.optim.Optimizer) -> int:
        return self._ids.setdefault(optimizer, len(self._ids))

    def _pre(self, optimizer: torch.optim.Optimizer, _arguments: Any, _options: Any) -> None:
        self._before(optimizer, self._id_of(optimizer))

    def _post(self, optimizer: torch.optim.Optimizer, _arguments: Any, _options: Any) -> None:
        self._after(optimizer, self._id_of(optimizer))

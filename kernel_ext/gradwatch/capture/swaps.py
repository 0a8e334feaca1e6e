"""Lets a program swap tensors: torch refuses it for a tensor that anybody holds weakly, as the tables of leaves do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gradwatch.capture.parameters import ParameterTable

NAME = "swap_tensors"


class TensorSwaps:
    """Stands in for `torch.utils.swap_tensors`, which modules call too, and has the table let go meanwhile."""

    def __init__(self, parameters: ParameterTable) -> None:
        self._parameters = parameters
        self._module: Any = torch.utils
        self._original: Callable[..., Any] | None = None
        self._function: Callable[..., Any] | None = None
        self._on = False

    def start(self) -> None:
        original = self._original = getattr(self._module, NAME, None)
        if original is None:
            return
        self._on = True

        def swap_tensors(t1: Any, t2: Any) -> Any:
            with self._let_go(t1, t2):
                return original(t1, t2)

        self._function = swap_tensors
        setattr(self._module, NAME, swap_tensors)

    def stop(self) -> None:
        """Give torch's own back, unless another stands in for ours by now: then ours passes calls through."""
        self._on = False
        if self._function is not None and getattr(self._module, NAME) is self._function:
            setattr(self._module, NAME, self._original)
        self._function = None

    @contextmanager
    def _let_go(self, *tensors: Any) -> Generator[None]:
        held = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)] if self._on else []
        taken = [back for tensor in held if (back := self._parameters.let_go(tensor)) is not None]
        try:
            yield
        finally:
            for back in taken:
                back()

"""Bytes that a forward keeps alive, by a dispatch mode that knows nothing of the ledger."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable


def alive_after(forward: Callable[[], Tensor]) -> int:
    """Bytes of the storages that ops inside `forward` made and that its result alone keeps alive, without its own."""
    with _Born() as born:
        loss = forward()
    return born.alive(loss)


def without_numbers(held: Any) -> int:
    """The bytes held, but for Python numbers that were saved as tensors: no dispatch mode sees those made."""
    numbers = {each.storage for each in held.saved if each.dtype == "float64" and each.storage_bytes == 8}
    return held.total_bytes - 8 * len(numbers)


class _Born(TorchDispatchMode):
    """Notes every storage that an op makes."""

    def __init__(self) -> None:
        super().__init__()
        self._born: dict[int, tuple[weakref.ref[Any], int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = set(_storages((args, kwargs)))
        for address, storage in _storages(result).items():
            if address not in given:  # neither a view nor a result in place
                self._born[address] = (weakref.ref(storage), storage.nbytes())
        return result

    def alive(self, apart_from: Tensor) -> int:
        gc.collect()
        skipped = _storages(apart_from)
        living = {address: size for address, (ref, size) in self._born.items() if ref() is not None}
        return sum(size for address, size in living.items() if address not in skipped)


def _storages(tree: Any) -> dict[int, Any]:
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return {storage._cdata: storage for storage in storages}

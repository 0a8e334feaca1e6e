"""The tensors that one node saved, by role, read as the ledger does: without unpacking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.ledger import (
    _attributes,  # pyright: ignore[reportPrivateUsage] # same room
    raw_fields,
    tensors_within,
)
from gradwatch.capture.pack_hooks import SavedHandle

if TYPE_CHECKING:
    from collections.abc import Iterator


def saved_tensors(node: Any) -> dict[str, torch.Tensor]:
    """What `node` holds now, by role: "self", "tensors[0]", "ctx.mask". Empty once backward has let go of it.

    Where the program's own hooks packed a tensor into something else it is not here: unpacking might compute.
    """
    found: dict[str, torch.Tensor] = {}
    for role, tensor in saved_rows(node):
        found.setdefault(role, tensor)
    return found


def saved_rows(node: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Roles with tensors; a container on a custom Function's ctx gives its role once for each tensor in it."""
    kind: type = node.__class__
    for role, attribute in raw_fields(kind):
        raw = getattr(node, attribute)
        several = isinstance(raw, (tuple, list))
        for i, item in enumerate(raw if several else [raw]):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # SavedTensor objects
            tensor = _data_of(item)
            if tensor is not None:
                yield (f"{role}[{i}]" if several else role), tensor
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        for name, value in list(_attributes(node)):
            for tensor in tensors_within(value):
                yield f"ctx.{name}", tensor


def _data_of(raw: Any) -> torch.Tensor | None:
    try:
        data = None if raw is None else raw.data
    except RuntimeError:  # released meanwhile, by another thread's backward
        return None
    if type(data) is SavedHandle:
        return data.tensor
    return data if isinstance(data, torch.Tensor) else None

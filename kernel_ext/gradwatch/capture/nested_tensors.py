"""Tensors in whatever holds them: containers, and objects of the program's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CONTAINER = 1000
"""Longer containers are not searched for tensors."""


def tensors_within(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Tensors in a value and in the tuples, lists and dicts of it, three levels deep."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)) and depth < 3 and len(value) <= MAX_CONTAINER:  # pyright: ignore[reportUnknownArgumentType] # whatever the program put there
        items: Any = value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # likewise
        for item in items:
            yield from tensors_within(item, depth + 1)

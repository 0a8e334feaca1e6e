"""What saved-tensor hooks of the program left in a saved tensor's place: its tensors, and what to say of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.checkpoints import cells_of
from gradwatch.capture.inside import fields_of
from gradwatch.capture.nested_tensors import tensors_within

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFLOADED = "saved on the CPU by save_on_cpu"
GUARDED = "saved under allow_mutation_on_saved_tensors: copied before it is changed in place"
_BY_HOOKS = "saved through the program's own hooks as {}"
_NOT_COUNTED = "; what that stands for is not counted"


def tensors_of(packed: object, hook: Any) -> list[torch.Tensor]:
    """Tensors that a packed value keeps in memory, found without unpacking and without running the program's code."""
    if is_guarded(packed):
        return list(_guarded(packed, hook))
    found = list(tensors_within(packed))
    return found or [tensor for _, value in fields_of(packed) for tensor in tensors_within(value)]


def label_of(packed: object, hook: Any, *, counted: bool) -> tuple[Any, str]:
    """The label and text of a node that saved through hooks. `counted`: tensors were found in what they packed."""
    if is_guarded(packed):
        return "user hooks", GUARDED if counted else GUARDED + _NOT_COUNTED
    kind: type = type(packed)
    if issubclass(kind, tuple) and getattr(hook, "__qualname__", "").startswith("save_on_cpu."):
        return "offloaded", OFFLOADED
    return "user hooks", _BY_HOOKS.format(kind.__name__) + ("" if counted else _NOT_COUNTED)


def is_guarded(packed: object) -> bool:
    """Whether allow_mutation_on_saved_tensors left it: a key into tables of the context."""
    kind: type = type(packed)
    return kind.__name__ == "_Handle" and kind.__module__ == torch.autograd.graph.__name__


def _guarded(packed: Any, hook: Any) -> Iterator[torch.Tensor]:
    context = cells_of(hook).get("ctx")
    for table in (getattr(context, "cloned", {}), getattr(context, "original", {})):
        tensor = table.get(packed)
        if isinstance(tensor, torch.Tensor):
            yield tensor
            return

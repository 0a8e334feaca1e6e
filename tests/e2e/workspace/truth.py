"""What is true of a graph, found the plain way: tests ask the stopped program for it and compare with the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.autograd.graph import Node


def nodes(output: torch.Tensor) -> set[Node]:
    found: set[Node] = set()
    todo = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [following for following, _ in node.next_functions]
    return found


def held_bytes(output: torch.Tensor, model: torch.nn.Module) -> int:
    """Bytes of the storages that backward keeps: each once, and none of the module's own."""
    kept = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    held: dict[int, int] = {}
    for node in nodes(output):
        for name in dir(node):
            saved = getattr(node, name) if name.startswith("_saved_") else None
            if isinstance(saved, torch.Tensor):
                storage = saved.untyped_storage()
                held[storage.data_ptr()] = storage.nbytes()
    return sum(size for storage, size in held.items() if storage not in kept)

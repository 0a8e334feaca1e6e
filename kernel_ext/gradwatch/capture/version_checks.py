"""Asks nodes of a living graph whether what they saved can still be used: overwritten since, or freed by a backward.

Reading `_saved_X` unpacks a saved tensor and checks its version, as the engine would. Fields with saved-tensor hooks
are never read so: unpacking them runs the program's code (a checkpoint would recompute).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from gradwatch.capture.ledger import raw_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch.autograd.graph import Node

Trouble = Literal["overwritten", "freed"]

OVERWRITTEN = "modified by an inplace operation"
FREED = "backward through the graph a second time"
_VERSIONS = re.compile(r"is at version (\d+); expected version (\d+)")
_OF_FUNCTION = "_raw_saved_tensors"


@dataclass(frozen=True, slots=True, eq=False)
class Unusable:
    """A saved tensor that cannot be used. `tensor` is what is saved (None: freed), `expected` its version then."""

    node: Node
    role: str
    trouble: Trouble
    tensor: torch.Tensor | None
    expected: int
    message: str


def unusable(nodes: Iterable[Node], trouble: Trouble) -> Iterator[Unusable]:
    """The saved tensors of nodes that are in trouble, one of each node at most, in the nodes' order."""
    for node in nodes:
        for role, attribute in raw_fields(type(node)):
            found = _custom(node) if attribute == _OF_FUNCTION else _field(node, role, attribute)
            if found is not None and found.trouble == trouble:
                yield found
                break


def _field(node: Any, role: str, attribute: str) -> Unusable | None:
    raws: Any = getattr(node, attribute)
    fields: list[Any] = [*raws] if isinstance(raws, (tuple, list)) else [raws]
    if any(map(_is_hooked, fields)):
        return None
    try:
        getattr(node, f"_saved_{role}")
    except RuntimeError as error:
        return _told(node, role, str(error), fields)
    return None


def _custom(node: Any) -> Unusable | None:
    try:
        raws: Any = getattr(node, _OF_FUNCTION)
    except RuntimeError as error:  # a custom Function that let go says so here
        return _told(node, "saved_tensors", str(error), ())
    if not raws or any(_is_hooked(raw) for raw in raws):
        return None
    try:
        _ = node.saved_tensors
    except RuntimeError as error:
        return _told(node, "saved_tensors", str(error), raws)
    return None


def _told(node: Any, role: str, message: str, raws: Any) -> Unusable | None:
    if FREED in message:
        return Unusable(node, role, "freed", None, -1, message)
    versions = _VERSIONS.search(message)
    if OVERWRITTEN not in message or versions is None:
        return None
    now, expected = int(versions[1]), int(versions[2])
    tensors = [raw.data for raw in raws if isinstance(raw.data, torch.Tensor)]
    changed = [tensor for tensor in tensors if tensor._version == now]
    return Unusable(node, role, "overwritten", next(iter(changed or tensors), None), expected, message)


def _is_hooked(raw: Any) -> bool:
    return raw is not None and getattr(raw, "unpack_hook", None) is not None

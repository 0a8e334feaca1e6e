"""Which tensor a number in the latest snapshot stands for: what a later question (values, a node) refers to.

Everything is held by weak reference; nodes, which cannot be, are found again from their roots.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from gradwatch.capture.graph import WALK_CHUNK, roots_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch.autograd.graph import Node


@dataclass(slots=True)
class _Kept:
    stop: int = -1
    parameters: list[Callable[[], Any]] = field(default_factory=list["Callable[[], Any]"])
    variables: list[Callable[[], Any]] = field(default_factory=list["Callable[[], Any]"])
    root: Callable[[], Any] | None = None
    expanded: int = -1


_shown = _Kept()


def remember(
    stop: int,
    parameters: Sequence[torch.Tensor],
    variables: Sequence[Any],
    root: torch.Tensor | None,
    *,
    expanded: int = -1,
) -> None:
    """Keep what snapshot `stop` showed. `root` is the variable whose graph it is; None: the running call's, or none.

    `expanded` is that of the walk (see Walk): the same part of the graph is walked again.
    """
    _shown.stop = stop
    _shown.parameters = [_weak(tensor) for tensor in parameters]
    _shown.variables = [_weak(value) for value in variables]
    _shown.root = None if root is None else _weak(root)
    _shown.expanded = expanded


def parameter(stop: int, number: int) -> torch.Tensor | None:
    """The leaf with this id in snapshot `stop`; None when it is gone, or another stop was shown since."""
    return _at(stop, _shown.parameters, number)


def variable(stop: int, index: int) -> torch.Tensor | None:
    """The variable at this index of snapshot `stop`, where it is a tensor that is still there."""
    import torch  # noqa: PLC0415  # loaded long since

    found = _at(stop, _shown.variables, index)
    return found if isinstance(found, torch.Tensor) else None


def node(stop: int, index: int) -> Node | None:
    """The node at this index of the graph of snapshot `stop`: of the running call's, or behind the root shown."""
    if stop != _shown.stop or index < 0:
        return None
    roots = _roots()
    nodes = walk(roots, _until(_shown.expanded)).nodes if roots else []
    return nodes[index] if index < len(nodes) else None


def _until(expanded: int) -> Callable[[], bool] | None:
    """What ends a walk after as many nodes as another was ended: it asks once for WALK_CHUNK nodes."""
    if expanded < 0:
        return None
    asked = count(1)
    return lambda: next(asked) * WALK_CHUNK > expanded


def _roots() -> list[Node]:
    if _shown.root is not None:
        root = _shown.root()
        return [] if root is None else roots_of([root])
    from gradwatch.capture.fired import running_call  # noqa: PLC0415  # only inside backward
    from gradwatch.capture.lines import current_frame  # noqa: PLC0415  # likewise

    call = running_call(current_frame(0))
    return [] if call is None else call.roots


def _at(stop: int, held: Sequence[Callable[[], Any]], index: int) -> Any:
    return held[index]() if stop == _shown.stop and 0 <= index < len(held) else None


def _weak(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:  # its class allows none
        return _nothing


def _nothing() -> None:
    return None

"""Lets very deep graphs die without overflowing the stack.

NOTE [Walking a deep graph]
In torch 2.13 a node whose Python wrapper was ever made is freed through that wrapper, so that torch's own
iterative deletion no longer sees the chain: a graph 70,000 nodes deep, once walked, overflows 8 MB of stack
when it dies. There is no walk without wrappers. So the wrappers of a deep graph are kept, and when the
program has let go of it, dropped one by one, root first: no node then owns the next. What it saved was
released by backward; what stays until the next event of the recording is the bare nodes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.autograd.graph import Node

DEEP = 3000
"""Longest path, in nodes, of a graph that is left to torch: half a megabyte of stack, the least that threads get."""

_OURS_ALONE = 2
"""What getrefcount says of a node that only a list of ours holds: the list, and its own argument."""

_kept: list[list[Node]] = []


def keep_if_deep(nodes: list[Node], source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
    """Keep the wrappers of a walked graph if a path in it is long. `nodes` is in forward order, roots last."""
    if len(nodes) > DEEP and longest_path(len(nodes), source, target) > DEEP:
        _kept.append(list(nodes))


def longest_path(count: int, source: NDArray[np.int64], target: NDArray[np.int64]) -> int:
    """Nodes on the longest path, for edges from `source` to a `target` that comes before it in order."""
    depth = [1] * count
    order = np.argsort(source, kind="stable")
    for above, below in zip(source[order].tolist(), target[order].tolist(), strict=True):
        if depth[below] >= depth[above]:
            depth[above] = depth[below] + 1
    return max(depth, default=0)


def sweep() -> None:
    """Free kept graphs that the program has let go of. Costs nothing while there are none."""
    if _kept:
        _kept[:] = [rest for nodes in _kept if (rest := _free_root_first(nodes))]


def _free_root_first(nodes: list[Node]) -> list[Node]:
    if sys.getrefcount(nodes[-1]) > _OURS_ALONE:
        return nodes
    still_owned: list[Node] = []
    while nodes:
        if sys.getrefcount(nodes[-1]) > _OURS_ALONE:
            still_owned.append(nodes[-1])  # by a tensor that the program still has
        nodes.pop()
    still_owned.reverse()
    return still_owned

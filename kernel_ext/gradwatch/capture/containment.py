"""Places operations that use no parameter in a module, where sequence numbers leave no doubt.

A module that is called once owns every operation between the first and the last that use its own parameters.
Called once it was where each of these parameters has one use; and where an operation of another module, not
inside this one, lies in between, its parameters were used from elsewhere: then nothing is placed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradwatch.capture.graph import Walk
    from gradwatch.records import Module


def place_between(
    walked: Walk, owners: NDArray[np.int64], leaves: Sequence[int], modules: Sequence[Module]
) -> NDArray[np.int64]:
    """`owners`, the module of each node or -1, with the nodes in between placed (int64, shape (nodes,))."""
    spans: list[tuple[int, int, int]] = []
    for module in _called_once(walked, owners, leaves):
        mine = np.flatnonzero(owners == module)
        spans.append((module, int(mine[0]), int(mine[-1])))
    placed: NDArray[np.int64] = np.array(owners)
    for module, first, last in sorted(spans, key=lambda span: span[2] - span[1]):  # innermost first
        inside = owners[first : last + 1]
        others: list[int] = np.unique(inside[inside >= 0]).tolist()
        if all(_is_within(modules[other], modules[module]) for other in others):
            between: NDArray[np.int64] = placed[first : last + 1]
            between[between < 0] = module
    return placed


def _called_once(walked: Walk, owners: NDArray[np.int64], leaves: Sequence[int]) -> list[int]:
    """Modules of which every leaf that their nodes use has no other use in the graph."""
    uses = np.bincount(walked.edge_target, minlength=len(walked.nodes))
    to_leaf = np.asarray(leaves, np.int64)[walked.edge_target] >= 0
    users, counts = owners[walked.edge_source[to_leaf]], uses[walked.edge_target[to_leaf]]
    again: set[int] = set(users[counts > 1].tolist())
    found: list[int] = np.unique(users[users >= 0]).tolist()
    return [module for module in found if module not in again]


def _is_within(module: Module, outer: Module) -> bool:
    if module.root != outer.root:
        return False
    return module.path == outer.path or module.path.startswith(f"{outer.path}." if outer.path else "")

"""Modules that a gradient goes through one after the other: equal siblings, or the calls of one module in a step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.findings.looked_at import LookedAt, gradients_of, module_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gradwatch.findings.paths import Paths
    from gradwatch.records import ModuleOutput
    from gradwatch.session.session import Session

SHORTEST = 4
"""Modules of a chain: with fewer there is no trend to speak of."""

SHORTEST_IN_TIME = 8
"""Calls of one module."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Outputs in forward order. `in_time`: of the calls of one module."""

    outputs: tuple[ModuleOutput, ...]
    in_time: bool

    @property
    def modules(self) -> list[int]:
        return list(dict.fromkeys(output.module for output in self.outputs))


@dataclass(frozen=True, slots=True)
class Scale:
    """How the gradient's norm changes along a chain: log10 of each output's over the last one's, by the middle step."""

    chain: Chain
    logs: NDArray[np.float64]
    steps: list[int]
    backward: int

    @property
    def total(self) -> float:
        """log10 of the first over the last."""
        return float(self.logs[0])

    @property
    def links(self) -> NDArray[np.float64]:
        """log10 of what each link does to the gradient on its way down: entry i from output i + 1 to i."""
        return self.logs[:-1] - self.logs[1:]

    @property
    def factor(self) -> float:
        """The change per module."""
        return float(10 ** (self.total / len(self.links)))

    @property
    def steepest(self) -> int:
        """The link that changes most."""
        return int(np.argmax(np.sign(self.total) * self.links))

    def is_steady(self) -> bool:
        """Whether three quarters of the links change it the way that the whole does."""
        along = np.count_nonzero(np.sign(self.links) == np.sign(self.total))
        return bool(along >= 0.75 * len(self.links))  # said above


def chains(session: Session) -> list[Chain]:
    """Every chain of the session's modules."""
    outputs = _first_tensors(module_outputs(session))
    paths = {view.id: (view.root, view.path, view.class_name) for view in session.modules}
    siblings: defaultdict[tuple[str, str, str], list[ModuleOutput]] = defaultdict(list)
    calls: defaultdict[int, list[ModuleOutput]] = defaultdict(list)
    for output in outputs:
        if output.module not in paths:
            continue
        root, path, class_name = paths[output.module]
        calls[output.module].append(output)
        if output.call == 0 and path:
            siblings[root, path.rpartition(".")[0], class_name].append(output)
    found = [Chain(tuple(each), in_time=False) for each in siblings.values() if len(each) >= SHORTEST]
    return found + [Chain(tuple(each), in_time=True) for each in calls.values() if len(each) >= SHORTEST_IN_TIME]


def _first_tensors(outputs: list[ModuleOutput]) -> list[ModuleOutput]:
    """Of each module call the output that stands first in what it returned."""
    first: dict[tuple[int, int], ModuleOutput] = {}
    for output in outputs:
        known = first.get((output.module, output.call))
        if known is None or output.path < known.path:
            first[output.module, output.call] = output
    return sorted(first.values(), key=lambda output: (output.call, output.id))


def scales(session: Session, steps: Sequence[int]) -> list[Scale]:
    """How the gradient changes along each chain, over those of the steps in which all of it was seen."""
    calls = [call for step in steps for call in gradients_of(session, step, "module")]
    return [scale for chain in chains(session) if (scale := _scale(chain, calls)) is not None]


def _scale(chain: Chain, calls: Iterable[LookedAt]) -> Scale | None:
    rows: list[list[float]] = []
    steps: list[int] = []
    backward = 0
    for call in calls:
        norms = [call.norms.get(output.id, float("nan")) for output in chain.outputs]
        counts = {call.counts.get(output.id, -1) for output in chain.outputs}
        if len(counts) == 1 and np.isfinite(norms).all() and norms[-1] > 0:
            rows.append(norms)
            steps.append(call.step)
            backward = call.backward
    if not rows:
        return None
    values = np.array(rows)
    # What is 0 in every element has underflowed, or was cut off: the smallest number says "less than this".
    logs = np.log10(np.maximum(values, np.finfo(np.float32).tiny))
    return Scale(chain, np.median(logs - logs[:, -1:], axis=0), sorted(set(steps)), backward)


def is_one_way(paths: Paths, session: Session, chain: Chain) -> bool:
    """Whether the gradient goes through the chain's modules one after the other, not through each for itself."""
    if chain.in_time:
        return _feeds_itself(paths, session, chain.modules[0])
    inside = [set(nodes_inside(paths, session, module)) for module in chain.modules]
    return all(deeper & set(paths.below(higher)) for deeper, higher in pairwise(inside) if deeper and higher)


def _feeds_itself(paths: Paths, session: Session, module: int) -> bool:
    """Whether one call's result goes into the next: its nodes are reached from its nodes by way of others' or views."""
    inside = nodes_inside(paths, session, module)
    if not inside:
        return False
    last = max(inside)
    # From the last call's last node down, half of all its nodes or more: the calls hang together.
    return len(set(inside) & set(paths.below([last]))) * 2 >= len(inside)


def nodes_inside(paths: Paths, session: Session, module: int) -> list[int]:
    """Nodes made in a module's calls, or in those of modules inside it."""
    view = next((view for view in session.modules if view.id == module), None)
    if view is None:
        return []
    within = {
        each.id
        for each in session.modules
        if each.root == view.root and (each.path == view.path or each.path.startswith(f"{view.path}."))
    }
    return [node for node, owner in enumerate(paths.modules) if owner in within]

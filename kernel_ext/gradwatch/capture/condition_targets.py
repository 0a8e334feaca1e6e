"""Which nodes of a graph a condition is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture import stop_tables
from gradwatch.capture.node_places import NodePlaces, module_named, parameter_named, places_of

if TYPE_CHECKING:
    import torch

    from gradwatch.capture.graph import Walk
    from gradwatch.records import Condition


@dataclass(slots=True)
class Targets:
    """Positions of the nodes to look at `before` they run, and just `after`."""

    before: set[int] = field(default_factory=set[int])
    after: set[int] = field(default_factory=set[int])


class ConditionedGraph:
    """The graph of one call, as conditions see it. Places are looked up when a condition or a stop needs them.

    `begun`: the call was running already when this was made, so that gradients may be on their way.
    """

    def __init__(self, walked: Walk, *, begun: bool) -> None:
        self.walked = walked
        self.begun = begun

    @cached_property
    def places(self) -> NodePlaces:
        return places_of(self.walked)

    @cached_property
    def structure(self) -> bytes:
        return stop_tables.structure(self.walked)

    @cached_property
    def leaves(self) -> list[tuple[int, torch.Tensor]]:
        return self.walked.leaves()

    def targets(self, condition: Condition) -> Targets:
        """Where to look for `condition`; nowhere when this graph has nothing of it."""
        everything = set(range(len(self.walked.nodes)))
        if condition.kind in ("next node", "norm exceeds"):
            return Targets(before=everything)
        if condition.kind == "first non-finite":
            return Targets(self._unwatched_inputs(), everything - {position for position, _ in self.leaves})
        if condition.kind == "parameter":
            return Targets(before=self._leaves_of([parameter_named(condition.parameter)]))
        if condition.kind == "module":
            return Targets(before=self._outputs_of(condition.module) | self._parameters_of(condition.module))
        return Targets(before=self._same_node(condition))

    def _unwatched_inputs(self) -> set[int]:
        """Nodes whose gradient is more than what one node gave out: roots, sums, and leaves with tensor hooks.

        What all others get was seen just after the node that made it. Hooks of the program on a tensor inside
        the graph cannot be found; what they break is seen after the next node.
        """
        if self.begun:
            return set(range(len(self.walked.nodes)))
        sums = np.flatnonzero(np.bincount(self.walked.edge_target, minlength=len(self.walked.nodes)) > 1)
        hooked = {position for position, leaf in self.leaves if leaf._backward_hooks}
        return set(self.walked.roots) | set(sums.tolist()) | hooked

    def _leaves_of(self, tensors: list[torch.Tensor | None]) -> set[int]:
        wanted = {id(tensor) for tensor in tensors if tensor is not None}
        return {position for position, leaf in self.leaves if id(leaf) in wanted}

    def _parameters_of(self, name: str) -> set[int]:
        module: Any = module_named(name)
        return set() if module is None else self._leaves_of(list(module.parameters()))

    def _outputs_of(self, name: str) -> set[int]:
        """The module's nodes whose gradient comes from outside of it."""
        inside = np.array([_is_within(module, name) for module in self.places.modules], dtype=bool)
        from_outside = inside[self.walked.edge_target] & ~inside[self.walked.edge_source]
        roots = {root for root in self.walked.roots if inside[root]}
        return set(self.walked.edge_target[from_outside].tolist()) | roots

    def _same_node(self, condition: Condition) -> set[int]:
        if condition.node >= 0 and self.structure == stop_tables.structure_of(condition.graph_digest):
            return {condition.node}
        named = {i for i, name in enumerate(self.walked.names) if name == condition.name}
        if condition.module:
            named = {i for i in named if self.places.modules[i] == condition.module}
        if condition.line:
            named = {i for i in named if condition.line in self.places.lines[i]}
        return named


def _is_within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")

"""One call into the engine while conditions watch it: who asks at which of its nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradwatch.capture.graph import LEAF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from gradwatch.capture.condition_targets import ConditionedGraph
    from gradwatch.records import Condition

ONCE_PER_CALL = ("first non-finite", "norm exceeds")
"""Kinds that would stop again at everything downstream."""

Gradients = tuple["Tensor | None", ...]


@dataclass(slots=True, eq=False)
class Armed:
    """A condition with the hits it has had."""

    condition: Condition
    hits: int = 0

    def record(self) -> Condition:
        return replace(self.condition, hits=self.hits)


@dataclass(frozen=True, slots=True)
class At:
    """A node at the moment its hook runs. `grad_inputs` is None before the node has run."""

    position: int
    grad_outputs: Gradients
    grad_inputs: Gradients | None = None


@dataclass(eq=False)
class ConditionedCall:
    """A call into the engine while it runs, and who asks at which node."""

    graph: ConditionedGraph
    outputs: Any
    thread: int
    spent: set[int]
    captures: bool = False
    version: int = -1
    before: dict[int, list[Armed]] = field(default_factory=dict[int, list[Armed]])
    after: dict[int, list[Armed]] = field(default_factory=dict[int, list[Armed]])
    captured: dict[int, list[tuple[int, int, Armed]]] = field(default_factory=dict[int, list[tuple[int, int, Armed]]])
    handles: dict[tuple[bool, int], Any] = field(default_factory=dict[tuple[bool, int], Any])

    def plan(self, armed: Sequence[Armed]) -> None:
        self.before, self.after, self.captured = {}, {}, {}
        for each in armed:
            targets = self.graph.targets(each.condition)
            for position in targets.before:
                self.before.setdefault(position, []).append(each)
            for position in targets.after:
                self.after.setdefault(position, []).append(each)
            if self.captures and each.condition.kind in ("parameter", "module"):
                self._plan_captured(each, targets.before)

    def _plan_captured(self, armed: Armed, leaves: set[int]) -> None:
        """`autograd.grad` takes a leaf's gradient without running its node: seen as what others give out."""
        walked = self.graph.walked
        edges = zip(walked.edge_source.tolist(), walked.edge_slot.tolist(), walked.edge_target.tolist(), strict=True)
        for source, slot, target in edges:
            if target in leaves and walked.names[target] == LEAF:
                self.captured.setdefault(source, []).append((slot, target, armed))

    def release(self) -> None:
        for handle in self.handles.values():
            handle.remove()
        self.handles.clear()
        self.before, self.after, self.captured = {}, {}, {}
        del self.graph, self.outputs

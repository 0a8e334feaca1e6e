"""One graph as findings walk it: who gives a gradient to whom, and the line of each node."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gradwatch.session.columns import as_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradwatch.session.session import Session

LEAF = "AccumulateGrad"
FARTHEST = 4096
"""Nodes that one search looks at."""


class Paths:
    """The graph of an id. "Up" is towards the loss, "down" is towards the parameters, as the gradient flows."""

    def __init__(self, session: Session, graph: int) -> None:
        columns = session.graph_columns(graph)
        if columns is None:
            raise LookupError(f"graph {graph} is not in the session")
        self.id = graph
        self._session = session
        self._columns = columns
        self.roots = list(columns.record.roots)
        self.names: list[str] = [columns.record.names[op] for op in columns.op.tolist()]
        self.modules: list[int] = columns.module_id.tolist()
        self.parameters: list[int] = columns.parameter_id.tolist()

    def site(self, node: int) -> int:
        """The id of the line of the op that made a node: as a trace saw it, else as the graph has it."""
        traced = self._session.site_of(self.id, node)
        return traced if traced >= 0 else int(self._columns.site_id[node])

    @cached_property
    def _neighbours(self) -> tuple[list[list[int]], list[list[int]]]:
        record, path = self._columns.record, self._session.path
        count, nodes = record.edge_count, record.node_count
        up: list[list[int]] = [[] for _ in range(nodes)]
        down: list[list[int]] = [[] for _ in range(nodes)]
        sources: list[int] = as_indices(record.edge_source, path, count, nodes).tolist()
        targets: list[int] = as_indices(record.edge_target, path, count, nodes).tolist()
        for source, target in zip(sources, targets, strict=True):
            up[target].append(source)
            down[source].append(target)
        return up, down

    def up(self, node: int) -> list[int]:
        """The nodes that give it a gradient."""
        return self._neighbours[0][node]

    def down(self, node: int) -> list[int]:
        """The nodes that it gives a gradient."""
        return self._neighbours[1][node]

    def leaf_of(self, parameter: int) -> int:
        """The node that accumulates a parameter's gradient; -1 where the graph has none."""
        return self.parameters.index(parameter) if parameter in self.parameters else -1

    def leaves_of(self, node: int) -> list[int]:
        """Ids of the parameters that a node gives gradients to, with nothing between but a transpose or a cast."""
        found = [self.parameters[each] for each in self.down(node)]
        through = [each for each in self.down(node) if self.names[each] in ("TBackward0", "ToCopyBackward0")]
        found += [self.parameters[leaf] for each in through for leaf in self.down(each)]
        return [parameter for parameter in found if parameter >= 0]

    def above(self, node: int, passes: Callable[[int], bool] | None = None) -> list[int]:
        """Every node up from one, nearest first, going on only through those that `passes` lets."""
        return self._reach([node], self.up, passes)

    def below(self, nodes: Iterable[int], passes: Callable[[int], bool] | None = None) -> list[int]:
        """Every node down from some, nearest first, going on only through those that `passes` lets."""
        return self._reach(list(nodes), self.down, passes)

    def _reach(
        self, start: list[int], onwards: Callable[[int], list[int]], passes: Callable[[int], bool] | None
    ) -> list[int]:
        seen = dict.fromkeys(start)
        queue = list(start)
        for node in queue:  # grows while it is walked
            if len(queue) > FARTHEST:
                break
            if node in start or passes is None or passes(node):
                for each in onwards(node):
                    if each not in seen:
                        seen[each] = None
                        queue.append(each)
        return queue[len(start) :]

    def is_last(self, node: int) -> bool:
        """Whether nothing with parameters stands between a node and the loss."""
        return not any(self.leaves_of(each) for each in self.above(node))

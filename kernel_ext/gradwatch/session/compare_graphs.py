"""Which node of one graph is which of another, and what differs between the two graphs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.session.columns import as_array, as_indices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from gradwatch.records import Column
    from gradwatch.session.compare_names import NamePairs
    from gradwatch.session.graph import GraphColumns

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ComparedNode:
    """A node as a comparison names it. `line` is "file.py:12", `text` that line where it was recorded."""

    index: int
    name: str
    module: str
    line: str | None
    text: str | None
    parameter: str | None


@dataclass(frozen=True, slots=True)
class ChangedNode:
    """One node in both graphs that is not the same in both; `what` says in which: "line", "inputs"."""

    a: ComparedNode
    b: ComparedNode
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """Two graphs of one backward call: what only one of them has, and what is another."""

    step_a: int
    step_b: int
    backward: int
    nodes_a: int
    nodes_b: int
    only_a: list[ComparedNode]
    only_b: list[ComparedNode]
    changed: list[ChangedNode]
    unlisted: int = 0
    """How many more nodes differ than are listed."""

    @property
    def differs(self) -> bool:
        return bool(self.only_a or self.only_b or self.changed)


@dataclass(frozen=True, slots=True)
class CallPair:
    """One backward call in both sessions."""

    step_a: int
    step_b: int
    backward: int


class GraphPair:
    """Two graphs with their nodes paired: by index where names and edges are the same, else by place.

    A node's place is its name, module and source line's text (its number where the text is not known), and how
    many like it come before it in forward order; what is then left, by name and module alone.
    """

    def __init__(self, a: GraphColumns, b: GraphColumns, names: NamePairs) -> None:
        self.a, self.b = a, b
        self._names = names
        self.same_structure = _same_structure(a, b)

    @cached_property
    def second_of(self) -> dict[int, int]:
        """Index in the second graph of each node of the first that is in both."""
        if self.same_structure:
            return {node: node for node in range(len(self.a.op))}
        modules = self._names.module.second_of
        parameters = self._names.parameter.second_of
        keys_a = [self._key(self.a, node, modules, parameters) for node in range(len(self.a.op))]
        keys_b = [self._key(self.b, node, None, None) for node in range(len(self.b.op))]
        found: dict[int, int] = {}
        for length in (4, 3):
            taken = set(found.values())
            free_a = [node for node in range(len(keys_a)) if node not in found]
            free_b = [node for node in range(len(keys_b)) if node not in taken]
            found |= _paired_in_order(
                free_a, free_b, [key[:length] for key in keys_a], [key[:length] for key in keys_b]
            )
        return found

    def difference(self, at: CallPair, most: int) -> GraphDifference:
        """Tell what differs: `most` nodes of each list at most."""
        second_of = self.second_of
        only_a = [node for node in range(len(self.a.op)) if node not in second_of]
        only_b = [node for node in range(len(self.b.op)) if node not in self._seconds]
        changed = [(a, b, what) for a, b in sorted(second_of.items()) if (what := self._what_changed(a, b))]
        return GraphDifference(
            *(at.step_a, at.step_b, at.backward, len(self.a.op), len(self.b.op)),
            only_a=[node_of(self.a, node) for node in only_a[:most]],
            only_b=[node_of(self.b, node) for node in only_b[:most]],
            changed=[ChangedNode(node_of(self.a, a), node_of(self.b, b), what) for a, b, what in changed[:most]],
            unlisted=sum(max(0, len(each) - most) for each in (only_a, only_b, changed)),
        )

    @cached_property
    def givers_a(self) -> dict[int, list[int]]:
        """Nodes of the first graph that hand their gradient to each of its nodes."""
        return _givers(self.a)

    @cached_property
    def givers_b(self) -> dict[int, list[int]]:
        """The same of the second graph."""
        return _givers(self.b)

    def engine_order(self) -> NDArray[np.int64]:
        """Position of each node of the first graph in the order that autograd runs them.

        Latest in forward first; what accumulates a leaf's gradient as soon as all who give to it have run.
        """
        count = len(self.a.op)
        ready = np.arange(count)
        source, _, target = _edges(self.a)
        leaves = np.flatnonzero(self.a.parameter_id >= 0)
        earliest = np.full(count, count, dtype=np.int64)
        np.minimum.at(earliest, target, source)
        ready[leaves] = earliest[leaves]
        is_leaf = (self.a.parameter_id >= 0).astype(np.int64)
        order = np.lexsort((np.arange(count), is_leaf, -ready))
        position = np.empty(count, dtype=np.int64)
        position[order] = np.arange(count)
        return position

    def _what_changed(self, a: int, b: int) -> tuple[str, ...]:
        found = ("line",) if _line_key(self.a, a) != _line_key(self.b, b) else ()
        return (*found, "inputs") if not self.same_structure and self._inputs_changed(a, b) else found

    def _inputs_changed(self, a: int, b: int) -> bool:
        """Whether a node's next functions are others, not counting those that only one graph has."""
        inputs_a, inputs_b = self._inputs
        taken = self._seconds
        mapped = [self.second_of[target] for target in inputs_a[a] if target in self.second_of]
        return mapped != [target for target in inputs_b[b] if target in taken] or len(inputs_a[a]) != len(inputs_b[b])

    @cached_property
    def _seconds(self) -> set[int]:
        return set(self.second_of.values())

    @cached_property
    def _inputs(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        return _inputs(self.a), _inputs(self.b)

    def _key(
        self, graph: GraphColumns, node: int, modules: dict[int, int] | None, parameters: dict[int, int] | None
    ) -> Key:
        """Spell ids of the first session in those of the second; one that the second lacks is like no other."""
        module, parameter = int(graph.module_id[node]), int(graph.parameter_id[node])
        return (
            graph.name(node),
            _translated(module, modules),
            _translated(parameter, parameters),
            _line_key(graph, node),
        )


def node_of(graph: GraphColumns, node: int) -> ComparedNode:
    site = int(graph.site_id[node])
    sources = graph.session.sources_by_id
    line = graph.line(node)
    return ComparedNode(
        node,
        graph.name(node),
        graph.module(node),
        line,
        sources.line_text(site) if line is not None else None,
        graph.session.names.parameter_name(int(graph.parameter_id[node])),
    )


def _translated(number: int, into: dict[int, int] | None) -> object:
    if into is None or number < 0:
        return number
    return into.get(number, ("first only", number))


def _line_key(graph: GraphColumns, node: int) -> str | None:
    line = graph.line(node)
    if line is None:
        return None
    return graph.session.sources_by_id.line_text(int(graph.site_id[node])) or line


def _paired_in_order(a: list[int], b: list[int], keys_a: list[Key], keys_b: list[Key]) -> dict[int, int]:
    waiting: defaultdict[Key, list[int]] = defaultdict(list)
    for node in reversed(b):
        waiting[keys_b[node]].append(node)
    return {node: waiting[keys_a[node]].pop() for node in a if waiting.get(keys_a[node])}


def _same_structure(a: GraphColumns, b: GraphColumns) -> bool:
    first, second = a.record, b.record
    if len(a.op) != len(b.op) or first.edge_count != second.edge_count:
        return False
    if any(a.name(node) != b.name(node) for node in range(len(a.op))):
        return False
    pairs: Iterable[tuple[Column, Column]] = (
        (first.edge_source, second.edge_source),
        (first.edge_slot, second.edge_slot),
        (first.edge_target, second.edge_target),
        (first.edge_input_nr, second.edge_input_nr),
    )
    return all(np.array_equal(as_array(x, a.session.path), as_array(y, b.session.path)) for x, y in pairs)


def _inputs(graph: GraphColumns) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for source, _, target in sorted(zip(*(column.tolist() for column in _edges(graph)), strict=True)):
        found[source].append(target)
    return found


def _givers(graph: GraphColumns) -> dict[int, list[int]]:
    source, _, target = (column.tolist() for column in _edges(graph))
    found: defaultdict[int, list[int]] = defaultdict(list)
    for giver, node in sorted(set(zip(source, target, strict=True))):
        found[node].append(giver)
    return dict(found)


def _edges(graph: GraphColumns) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    record, path, count = graph.record, graph.session.path, len(graph.op)
    return (
        as_indices(record.edge_source, path, record.edge_count, count),
        as_indices(record.edge_slot, path, record.edge_count, 1 << 32),
        as_indices(record.edge_target, path, record.edge_count, count),
    )

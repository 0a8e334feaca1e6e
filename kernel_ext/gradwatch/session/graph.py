"""One autograd graph as a step had it: nodes and edges made on demand, so that size costs nothing up front."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradwatch.session.columns import as_array, as_indices
from gradwatch.session.lookup import LazySequence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradwatch.records import Graph, NodeLabel
    from gradwatch.session.compiled import CompiledView
    from gradwatch.session.ledger import LedgerTable, SavedView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView


@dataclass(frozen=True, slots=True)
class EdgeView:
    """Gradient flows from node `source`, through its next_functions entry `slot`, to output `input_nr` of `target`."""

    source: int
    target: int
    slot: int
    input_nr: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One distinct graph structure and the steps whose backward calls had it (`steps`, int64, ascending)."""

    id: int
    steps: NDArray[np.int64]


class GraphColumns:
    """A Graph record's columns, checked, with what its ids stand for."""

    def __init__(self, session: Session, record: Graph) -> None:
        self.session = session
        self.record = record
        path, count = session.path, record.node_count
        no_limit = 1 << 31
        self.op = as_indices(record.name, path, count, len(record.names))
        self.module_id = as_indices(record.module, path, count, no_limit)
        self.site_id = as_indices(record.site, path, count, no_limit)
        self.project_site_id = as_indices(record.project_site, path, count, no_limit)
        self.parameter_id = as_indices(record.parameter, path, count, no_limit)
        self.in_backward = as_array(record.in_backward, path, count)
        as_array(record.edge_source, path, record.edge_count)  # the number of edges is believed from here on

    def name(self, node: int) -> str:
        """Return the op of a node; "(unknown)" for -1."""
        return self.record.names[int(self.op[node])] if 0 <= node < len(self.op) else "(unknown)"

    def module(self, node: int) -> str:
        """Return the name of a node's module, "" for none."""
        return self.session.names.module_name(int(self.module_id[node])) if 0 <= node < len(self.op) else ""

    def line(self, node: int) -> str | None:
        """Return the innermost line of the user's that made a node, as "file.py:12"."""
        return self.session.sources_by_id.label(int(self.site_id[node])) if 0 <= node < len(self.op) else None


class NodeView:
    """A node of a graph: one op's backward, or the AccumulateGrad of a leaf."""

    __slots__ = ("_graph", "index")

    def __init__(self, graph: GraphView, index: int) -> None:
        self._graph = graph
        self.index = index

    @property
    def name(self) -> str:
        """The op, as autograd calls it: "MulBackward0"."""
        return self._graph.columns.name(self.index)

    @property
    def module(self) -> str:
        """Name of the module in whose forward it was made; "" for none."""
        return self._graph.columns.module(self.index)

    @property
    def line(self) -> str | None:
        """The innermost line of the user's, as "file.py:12"; None when it is not known."""
        return self._graph.columns.line(self.index)

    @property
    def project_line(self) -> str | None:
        """The innermost line outside installed packages."""
        columns = self._graph.columns
        return columns.session.sources_by_id.label(int(columns.project_site_id[self.index]))

    @property
    def site(self) -> int:
        """Id of the innermost line, for `session.site`; -1 when it is not known."""
        return int(self._graph.columns.site_id[self.index])

    @property
    def parameter(self) -> str | None:
        """Name of the leaf whose gradient it accumulates."""
        columns = self._graph.columns
        return columns.session.names.parameter_name(int(columns.parameter_id[self.index]))

    @property
    def in_backward(self) -> bool:
        """Whether a backward call with create_graph made it."""
        return bool(self._graph.columns.in_backward[self.index])

    @property
    def saved(self) -> list[SavedView]:
        """What it saved for backward, as far as that step's ledger was recorded."""
        return self._graph.saved_of(self.index)

    @property
    def outputs(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each output, as far as that step's ledger was recorded."""
        return self._graph.outputs_of(self.index)

    @property
    def label(self) -> NodeLabel | None:
        """Why its inside is not observable, or what is special about it."""
        return self._graph.labels.get(self.index)

    @property
    def region(self) -> CompiledView | None:
        """What AOTAutograd made of it, where it is a compiled node whose graph was seen."""
        label = self.label
        return None if label is None else self._graph.columns.session.compiled(label.region)

    @property
    def gradient(self) -> dict[str, float | int] | None:
        """Statistics of the gradient of its outputs, where they were recorded."""
        return self._graph.gradient_of(self.index)

    def __repr__(self) -> str:
        place = " ".join(part for part in (self.parameter, self.module, self.line) if part)
        return f"<node {self.index} {self.name}{' ' if place else ''}{place}>"


class GraphView:
    """The graph of one backward call. Nodes are in forward order: leaves first, roots last."""

    def __init__(self, columns: GraphColumns, backward: BackwardView, ledger: LedgerTable | None) -> None:
        record = columns.record
        self.columns = columns
        self.backward = backward
        self.id = record.id
        self.digest = record.digest
        self.roots = list(record.roots)
        self.labels = {label.node: label for label in record.labels}
        self._ledger = ledger
        self.nodes = LazySequence(record.node_count, lambda index: NodeView(self, index))
        self.edges = LazySequence(record.edge_count, self._edge)

    @property
    def variant_of(self) -> int | None:
        """Id of the session's first graph structure, where this is another one."""
        first = self.columns.session.first_graph_id
        return None if first == self.id else first

    @cached_property
    def edge_columns(self) -> dict[str, NDArray[np.int64]]:
        """The edges as int64 columns: source, target, slot, input_nr."""
        record, path = self.columns.record, self.columns.session.path
        count, limit = record.edge_count, 1 << 32
        return {
            "source": as_indices(record.edge_source, path, count, record.node_count),
            "target": as_indices(record.edge_target, path, count, record.node_count),
            "slot": as_indices(record.edge_slot, path, count, limit),
            "input_nr": as_indices(record.edge_input_nr, path, count, limit),
        }

    def saved_of(self, node: int) -> list[SavedView]:
        return [] if self._ledger is None else self._ledger.saved_of(node)

    def outputs_of(self, node: int) -> list[tuple[tuple[int, ...], str]]:
        return [] if self._ledger is None else self._ledger.outputs_of(node)

    def gradient_of(self, node: int) -> dict[str, float | int] | None:
        rows, positions = self._gradients
        return rows.row(positions[node]) if node in positions else None

    @cached_property
    def _gradients(self) -> tuple[Any, dict[int, int]]:
        rows = self.columns.session.gradients_at(self.backward.step, "node").of_backward(self.backward.index)
        return rows, {subject: position for position, subject in enumerate(rows.subjects.tolist())}

    def _edge(self, index: int) -> EdgeView:
        columns = self.edge_columns
        source, target, slot, nr = (int(columns[key][index]) for key in ("source", "target", "slot", "input_nr"))
        return EdgeView(source, target, slot, nr)

    def __repr__(self) -> str:
        where = f"step {self.backward.step}, call {self.backward.index}"
        return f"<graph {self.id} at {where}: {len(self.nodes)} nodes, {len(self.edges)} edges>"

"""What was held at the observed peak of a session, in the shape that the questions about memory ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.records import TENSOR_CLASSES, Backward, Held
from gradwatch.session.columns import as_array
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradwatch.session.graph import GraphColumns
    from gradwatch.session.ledger import LedgerTable
    from gradwatch.session.session import Session

_HELD = [number for number, name in enumerate(TENSOR_CLASSES) if name in HELD_CLASSES]


@dataclass(frozen=True)
class Peak:
    """One graph with its ledger. `storages` (bool) marks those held then, of the classes that backward keeps alive."""

    session: Session
    step: int
    backward: int
    graph_id: int
    ledger: LedgerTable
    columns: GraphColumns
    storages: NDArray[np.bool_]
    held: Held | None
    duration_ns: int = 0

    @property
    def total(self) -> int:
        return self.bytes_of(self.storages)

    def bytes_of(self, chosen: NDArray[np.bool_]) -> int:
        """Bytes of the chosen storages, of those that were held."""
        return int(self.ledger.storage_bytes[chosen & self.storages].sum())

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the ledger whose storage was held."""
        storage = self.ledger.storage
        return np.flatnonzero((storage >= 0) & self.storages[storage])

    def storages_where(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The storages (bool) that have such a row among those held. `rows` marks rows of the ledger."""
        found = np.zeros(len(self.storages), bool)
        found[self.ledger.storage[self.rows][rows[self.rows]]] = True
        return found

    def only_where(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The storages (bool) all of whose rows are such."""
        return self.storages_where(rows) & ~self.storages_where(~rows)

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        return np.array(TENSOR_CLASSES)[self.ledger.storage_class]

    def role(self, row: int) -> str:
        return self.ledger.entry(self.ledger.record.roles, int(self.ledger.role[row]))

    def shape(self, row: int) -> tuple[int, ...]:
        number = int(self.ledger.shape[row])
        return tuple(self.ledger.record.shapes[number]) if number >= 0 else ()

    def dtype(self, row: int) -> str:
        return self.ledger.entry(self.ledger.record.dtypes, int(self.ledger.dtype[row]))

    def site(self, node: int) -> int:
        """The line of a node: of the op where a trace saw it, else as the graph has it; the project's own first."""
        return site_of(self.session, self.columns, self.graph_id, node)

    @cached_property
    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Source, target and the target's output number of each edge."""
        record, path = self.columns.record, self.session.path
        columns = (record.edge_source, record.edge_target, record.edge_input_nr)
        source, target, number = (as_array(each, path, record.edge_count).astype(np.int64) for each in columns)
        return source, target, number

    def inputs_of(self, node: int) -> list[int]:
        """The nodes that made what a node was given."""
        source, target, _ = self.edges
        return target[source == node].tolist()


def site_of(session: Session, columns: GraphColumns, graph: int, node: int) -> int:
    """The line of a node, as Peak.site."""
    if node < 0:
        return -1
    for project in (True, False):
        traced = session.site_of(graph, node, project=project)
        if traced >= 0:
            return traced
    project_site = int(columns.project_site_id[node])
    return project_site if project_site >= 0 else int(columns.site_id[node])


def peak_of(session: Session) -> Peak | None:
    """The backward call that found most held, of those whose ledger was recorded; None where none has one."""
    calls = [call for call in session.reader.records(Backward) if call.ledger >= 0 and call.graph >= 0]
    if not calls:
        return None
    call = max(calls, key=lambda call: (call.parent < 0, call.held_bytes))
    records = session.reader.records_of_step(Held, call.step)
    held = next((record for record in records if record.backward == call.index), None)
    peak = peak_with(session, (call.step, call.index), (call.graph, call.ledger), held)
    return None if peak is None else replace(peak, duration_ns=call.duration_ns)


def peak_with(session: Session, call: tuple[int, int], ids: tuple[int, int], held: Held | None = None) -> Peak | None:
    """The peak of one step and backward call, by ids of its graph and ledger; None where the file lacks them."""
    graph, ledger = ids
    table, columns = session.ledger_table(ledger), session.graph_columns(graph)
    if table is None or columns is None:
        return None
    storages = np.isin(table.storage_class, _HELD)
    if held is not None and held.on_peak.data:
        marks = as_array(held.on_peak, session.path, table.record.saved_count).astype(bool)
        marked = np.zeros(len(storages), bool)
        marked[table.storage[marks & (table.storage >= 0)]] = True
        storages &= marked
    return Peak(session, *call, graph, table, columns, storages, held)

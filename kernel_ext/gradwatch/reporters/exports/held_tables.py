"""Tables of the memory held for backward and of the graphs behind it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import TENSOR_CLASSES, Backward, Graph, Held
from gradwatch.reporters.exports.columns import Batch, Column, Table, in_batches, repeated
from gradwatch.session.columns import as_array, as_indices
from gradwatch.session.graph import GraphColumns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.records import Site
    from gradwatch.reporters.exports.source import Source
    from gradwatch.session.ledger import LedgerTable
    from gradwatch.session.session import Session

_KEPT_LEDGERS = 8

Group = tuple[str | None, int | None, str | None, str | None, str, str, str]


def _held(source: Source, table: Table) -> Iterator[Batch]:
    return in_batches(source, table, _held_rows(source))


def _held_rows(source: Source) -> Iterator[tuple[Any, ...]]:
    kept: dict[int, list[tuple[Any, ...]]] = {}
    for call in source.records(Backward):
        if call.ledger < 0:
            continue
        with source.losing_damaged():
            if call.ledger not in kept:
                while len(kept) >= _KEPT_LEDGERS:
                    del kept[next(iter(kept))]
                ledger = source.session.ledger_table(call.ledger)
                kept[call.ledger] = [] if ledger is None else _grouped(source.session, ledger)
            for group in kept[call.ledger]:
                yield call.step, call.index, *group


def _grouped(session: Session, ledger: LedgerTable) -> list[tuple[Any, ...]]:
    """Sum up bytes and storages, each charged once to its first saver, largest first."""
    held: Counter[Group] = Counter()
    storages: Counter[Group] = Counter()
    for storage in range(ledger.record.storage_count):
        group = _group(session, ledger, storage)
        held[group] += int(ledger.storage_bytes[storage])
        storages[group] += 1
    return [(*group, size, storages[group]) for group, size in held.most_common()]


def _group(session: Session, ledger: LedgerTable, storage: int) -> Group:
    row = int(ledger.charged_row[storage])
    tensor_class = ledger.entry(TENSOR_CLASSES, ledger.storage_class[storage])
    device = ledger.entry(ledger.record.devices, ledger.storage_device[storage])
    if row < 0:
        return None, None, None, None, "(no saver)", tensor_class, device
    site = saving_site(session, ledger, row)
    what = ledger.module(row) or None, ledger.op(row), tensor_class, device
    return (site.file, site.line, site.function, *what) if site else (None, None, None, *what)


def saving_site(session: Session, ledger: LedgerTable, row: int) -> Site | None:
    """Find the place that saved a tensor: the row's own where it has one, else its node's."""
    number = int(ledger.site[row])
    if number < 0:
        graph, node = session.graph_columns(ledger.record.graph), int(ledger.node[row])
        number = -1 if graph is None or not 0 <= node < len(graph.site_id) else int(graph.site_id[node])
    return site_or_none(session, number)


def site_or_none(session: Session, number: int) -> Site | None:
    """Find a site; None where there is none, or where the file lacks it."""
    known = number >= 0 and session.sources_by_id.label(number) is not None
    return session.site(number) if known else None


def _curves(source: Source, _table: Table) -> Iterator[Batch]:
    for record in source.records(Held):
        with source.losing_damaged():
            times = as_array(record.curve_ns, source.session.path).astype(np.int64)
            sizes = as_array(record.curve_bytes, source.session.path, len(times)).astype(np.int64)
            yield {
                "step": repeated(record.step, len(times)),
                "backward": repeated(record.backward, len(times)),
                "time_ns": times,
                "held_bytes": sizes,
                "curve_source": [record.curve_source] * len(times),
                "release_source": [record.release_source] * len(times),
            }


def _graphs(source: Source) -> Iterator[Graph]:
    """The graphs that the chosen steps' calls had: each once."""
    chosen = None if source.steps is None else {call.graph for call in source.records(Backward)}
    for record in source.session.reader.records(Graph):
        if chosen is None or record.id in chosen:
            yield record


def _nodes(source: Source, table: Table) -> Iterator[Batch]:
    return in_batches(source, table, _node_rows(source))


def _node_rows(source: Source) -> Iterator[tuple[Any, ...]]:
    for record in _graphs(source):
        with source.losing_damaged():
            graph, roots = GraphColumns(source.session, record), set(record.roots)
            labels = {label.node: label.label for label in record.labels}
            for node in range(record.node_count):
                site = site_or_none(source.session, int(graph.site_id[node]))
                yield (
                    record.id,
                    node,
                    graph.name(node),
                    graph.module(node) or None,
                    *((site.file, site.line, site.function) if site else (None, None, None)),
                    source.session.names.parameter_name(int(graph.parameter_id[node])),
                    bool(graph.in_backward[node]),
                    node in roots,
                    labels.get(node),
                )


def _edges(source: Source, _table: Table) -> Iterator[Batch]:
    for record in _graphs(source):
        with source.losing_damaged():
            path, count = source.session.path, record.edge_count
            sources = as_indices(record.edge_source, path, count, record.node_count)  # before anything of that size
            yield {
                "graph": repeated(record.id, count),
                "source": sources,
                "slot": as_indices(record.edge_slot, path, count, 1 << 32),
                "target": as_indices(record.edge_target, path, count, record.node_count),
                "input_nr": as_indices(record.edge_input_nr, path, count, 1 << 32),
            }


_LINE = (
    Column("module", "text", "name of the module in whose forward it was made"),
    Column("file", "text", "source file, as recorded"),
    Column("line", "int64", "line, from 1"),
    Column("function", "text", "function"),
)
HELD = Table(
    "held",
    "Bytes held for backward by line, module and op, when a call began. Each storage counts once, at its first saver.",
    (
        Column("step", "int64", "number of the step"),
        Column("backward", "int64", "index of the call in the step"),
        Column("file", "text", "source file, as recorded"),
        Column("line", "int64", "line, from 1"),
        Column("function", "text", "function"),
        Column("module", "text", "name of the module in whose forward it was saved"),
        Column("op", "text", "the node that saved it"),
        Column("class", "text", "activation, parameter, buffer, input, optimizer state or not observable"),
        Column("device", "text", "device"),
        Column("bytes", "int64", "bytes of the storages"),
        Column("storages", "int64", "number of storages"),
    ),
    (Backward,),
    _held,
)
HELD_CURVE = Table(
    "held_curve",
    "Bytes held for backward over a call, from each time on.",
    (
        Column("step", "int64", "number of the step"),
        Column("backward", "int64", "index of the call in the step"),
        Column("time_ns", "int64", "ns from the call's start"),
        Column("held_bytes", "int64", "bytes held from then on"),
        Column("curve_source", "text", "walk: through backward; hooks: through forward and backward"),
        Column("release_source", "text", "observed or estimated"),
    ),
    (Held,),
    _curves,
)
NODES = Table(
    "nodes",
    "Nodes of each distinct graph, in forward order; backwards.graph says which call had it.",
    (
        Column("graph", "int64", "id of the graph"),
        Column("node", "int64", "index of the node"),
        Column("op", "text", "what autograd calls it"),
        *_LINE,
        Column("parameter", "text", "name of the leaf whose gradient it accumulates"),
        Column("in_backward", "bool", "made by a backward call with create_graph"),
        Column("root", "bool", "backward began here"),
        Column("label", "text", "why its inside is not observable, or what is special about it"),
    ),
    (Backward,),
    _nodes,
)
EDGES = Table(
    "edges",
    "Edges of each distinct graph, the way gradient flows.",
    (
        Column("graph", "int64", "id of the graph"),
        Column("source", "int64", "node that gradient comes from"),
        Column("slot", "int64", "entry of its next_functions"),
        Column("target", "int64", "node that gradient flows to"),
        Column("input_nr", "int64", "which of its outputs that is"),
    ),
    (Backward,),
    _edges,
)

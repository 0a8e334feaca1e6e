"""Session -> the nodes and edges of one backward call's graph, as rows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.reporters.places import Quotes
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from gradwatch.reporters.json import EdgeRow, GraphSummary, NodeRow, SavedTensor, SaverRow
    from gradwatch.session.graph import GraphView, NodeView
    from gradwatch.session.ledger import SavedView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView

LARGEST_NODES = 5


def graph_summary(session: Session, graph: GraphView, rows: list[NodeRow]) -> GraphSummary:
    """Put a graph in figures; `rows` are its `node_rows`."""
    ids = [variant.id for variant in session.variants]
    return {
        "step": graph.backward.step,
        "backward": graph.backward.index,
        "variant": ids.index(graph.id),
        "variants": len(ids),
        "model": _only_root(session),
        "node_count": len(graph.nodes),
        "edge_count": len(graph.edges),
        "saved_bytes": sum(row["saved_bytes"] for row in rows),
        "roots": graph.roots,
        "largest": _largest(rows),
    }


def graph_if_recorded(session: Session, backward: BackwardView) -> GraphSummary | None:
    try:
        graph = backward.graph
    except UsageError:
        return None
    return graph_summary(session, graph, node_rows(session, graph))


def node_rows(session: Session, graph: GraphView) -> list[NodeRow]:
    """Return all nodes in forward order: leaves first, roots last."""
    quotes, counted = Quotes(session), set[int]()
    return [_node(quotes, node, counted) for node in graph.nodes]


def edge_rows(graph: GraphView) -> list[EdgeRow]:
    columns = {name: column.tolist() for name, column in graph.edge_columns.items()}
    rows = zip(columns["source"], columns["target"], columns["slot"], columns["input_nr"], strict=True)
    return [{"source": source, "target": target, "slot": slot, "input_nr": nr} for source, target, slot, nr in rows]


def _largest(rows: list[NodeRow]) -> list[SaverRow]:
    groups: defaultdict[object, list[NodeRow]] = defaultdict(list)
    for row in rows:
        if row["saved_bytes"]:
            place = row["place"] and (row["place"]["file"], row["place"]["line"])
            groups[row["name"], _without_indices(row["module"]), place].append(row)
    savers = [_saver(group) for group in groups.values()]
    return sorted(savers, key=lambda saver: -saver["saved_bytes"])[:LARGEST_NODES]


def _saver(group: list[NodeRow]) -> SaverRow:
    first = group[0]
    same = all(row["module"] == first["module"] for row in group)
    return {
        "name": first["name"],
        "module": first["module"] if same else _without_indices(first["module"]),
        "nodes": len(group),
        "saved_bytes": sum(row["saved_bytes"] for row in group),
        "place": first["place"],
    }


def _without_indices(module: str | None) -> str | None:
    return module and ".".join("*" if part.isdigit() else part for part in module.split("."))


def _only_root(session: Session) -> str | None:
    roots = {module.root for module in session.modules}
    return next((module.name for module in session.modules if not module.path), None) if len(roots) == 1 else None


def _node(quotes: Quotes, node: NodeView, counted: set[int]) -> NodeRow:
    saved, label = node.saved, node.label
    counting = [each for each in saved if each.tensor_class in HELD_CLASSES]
    fresh = {each.storage: each.storage_bytes for each in counting if each.storage not in counted}
    counted.update(fresh)
    return {
        "index": node.index,
        "name": node.name,
        "module": node.module or None,
        "parameter": node.parameter,
        "in_backward": node.in_backward,
        "label": label.label if label else None,
        "label_text": label.text if label else None,
        "region": label.region if label and label.region >= 0 else None,
        "saved_bytes": sum(fresh.values()),
        "place": quotes.place(node.line),
        "outputs": [{"shape": list(shape), "dtype": dtype} for shape, dtype in node.outputs],
        "saved": [_saved(quotes, each) for each in saved],
    }


def _saved(quotes: Quotes, saved: SavedView) -> SavedTensor:
    return {
        "role": saved.role,
        "shape": list(saved.shape),
        "dtype": saved.dtype,
        "bytes": saved.bytes,
        "storage": saved.storage,
        "storage_bytes": saved.storage_bytes,
        "tensor_class": saved.tensor_class,
        "device": saved.device,
        "recomputed": saved.recomputed,
        "place": quotes.place(saved.line),
    }

"""What a call into autograd finds, read from the live nodes, and from a session's records.

Both are put in one order, so that they can be compared as they are. The nodes are asked for next_functions and raw
saved tensors, by code that is not the recorder's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gradwatch.records import Backward, Gradients, Graph, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradwatch import Session
    from gradwatch.records import Column

Edge = tuple[int, int, int, int]
"""Source, slot, target and input_nr. Nodes are numbered as they are first met from the roots, slot by slot."""

Saved = tuple[int, str, tuple[int, ...], str, int]
"""Node, role, shape, dtype and storage. Storages are numbered as these are sorted."""


class Norm(NamedTuple):
    """A gradient: how many numbers, how many of them NaN and infinite, and the L2 norm over the others."""

    numbers: int
    nan: int
    inf: int
    l2: float

    def is_near(self, other: Norm) -> bool:
        """Equal, to float32's precision. Float32's smallest numbers are coarse."""
        return self[:3] == other[:3] and math.isclose(self.l2, other.l2, rel_tol=2e-6, abs_tol=1e-44)


@dataclass
class Call:
    """One call. `norms` are of the leaves' `.grad` after it, `node_norms` of what nodes were given, both by node.

    `owned` are nodes of a module's parameters.
    """

    kind: str
    names: list[str] = field(default_factory=list[str])
    edges: list[Edge] = field(default_factory=list[Edge])
    saved: list[Saved] = field(default_factory=list[Saved])
    storages: list[int] = field(default_factory=list[int])
    held: int = -1
    raised: bool = False
    labelled: set[int] = field(default_factory=set[int])
    norms: dict[int, Norm] = field(default_factory=dict[int, Norm])
    node_norms: dict[int, Norm] = field(default_factory=dict[int, Norm])
    owned: set[int] = field(default_factory=set[int])
    walked: bool = True
    alive: list[int] = field(default_factory=list[int])
    """Bytes of all storages that the nodes hold or that autograd has packed, where a witness keeps count."""

    def without_hidden(self, nodes: set[int]) -> Call:
        """This call without what only pack hooks could see of `nodes`."""
        rows = [(*row, self.storages[row[4]]) for row in self.saved if row[1] != "hidden" or row[0] not in nodes]
        if len(rows) == len(self.saved):
            return self
        saved, storages = _in_order(rows)
        hidden = sum(self.storages) - sum(storages)
        return replace(self, saved=saved, storages=storages, held=self.held - hidden)


def norm_of(gradients: Iterable[Tensor]) -> Norm:
    """The statistics of a gradient, or of several that count as one, in float64."""
    parts = [_numbers(gradient.detach()) for gradient in gradients]
    numbers = np.concatenate(parts) if parts else np.empty(0)
    finite = numbers[np.isfinite(numbers)]
    return Norm(
        len(numbers), int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum()), float(np.sqrt((finite**2).sum()))
    )


def _numbers(tensor: Tensor) -> Any:
    if tensor.is_nested:
        return np.concatenate([_numbers(part) for part in tensor.unbind()])
    dense = (tensor if tensor.layout is torch.strided else tensor.to_dense()).resolve_conj().resolve_neg()
    dense = dense.clone(memory_format=torch.contiguous_format)
    return (torch.view_as_real(dense) if dense.is_complex() else dense).double().reshape(-1).numpy()


# The live nodes


def live_call(kind: str, root: Tensor, kept: set[int], packed: dict[int, int]) -> tuple[Call, list[Any]]:
    """Read the graph behind `root` and what it holds, with its nodes.

    `kept` are storages that would stay without it, `packed` others that are known to be held, with their sizes.
    """
    first: Any = root.grad_fn
    call, nodes = Call(kind), [first]
    at: dict[Any, int] = {first: 0}
    for source, node in enumerate(nodes):  # grows
        for slot, (target, input_nr) in enumerate(node.next_functions):
            if target is not None:
                if target not in at:
                    at[target] = len(nodes)
                    nodes.append(target)
                call.edges.append((source, slot, at[target], input_nr))
    call.names = [node.name().removeprefix("torch::autograd::") for node in nodes]
    held = [(i, role, part) for i, node in enumerate(nodes) for role, part in _held_by(node)]
    rows = [
        (i, role, tuple(part.shape), _dtype(part), part.untyped_storage()._cdata, part.untyped_storage().nbytes())
        for i, role, part in held
    ]
    call.saved, call.storages = _in_order(rows)
    sizes = {row[4]: row[5] for row in rows}
    call.held = sum(size for address, size in sizes.items() if address not in kept)
    call.alive = sorted({**packed, **sizes}.values())
    return call, nodes


def kept_storages(*trees: object) -> set[int]:
    """Storages of the parameters in them, and of modules' parameters and buffers: they stay without backward."""
    found: list[Tensor] = []
    for tree in trees:
        if isinstance(tree, nn.Module):
            found += [*tree.parameters(), *tree.buffers()]
        else:
            found += [leaf for leaf in tree_leaves(tree) if isinstance(leaf, nn.Parameter)]
    return {part.untyped_storage()._cdata for tensor in found for part in parts_of(tensor)}


def _held_by(node: Any) -> Iterator[tuple[str, Tensor]]:
    for name in sorted(_raw_names(type(node))):
        raw = getattr(node, name)
        role = name.removeprefix("_raw_saved_")
        several = isinstance(raw, (tuple, list))
        for i, each in enumerate(raw if several else [raw]):
            data = None if each is None else each.data
            for part in parts_of(getattr(data, "tensor", data)):
                yield f"{role}[{i}]" if several else role, part
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        for name, value in vars(node).items():
            for leaf in tree_leaves(value):
                for part in parts_of(leaf):
                    yield f"ctx.{name}", part


_names_of: dict[type, list[str]] = {}


def _raw_names(kind: type) -> list[str]:
    if kind not in _names_of:
        _names_of[kind] = [name for name in dir(kind) if name.startswith("_raw_saved_")]
    return _names_of[kind]


def parts_of(value: Any) -> list[Tensor]:
    """The strided tensors that a tensor's values stand in."""
    if not isinstance(value, Tensor):
        return []
    if value.layout is torch.jagged:
        names: list[str] = getattr(value, "__tensor_flatten__")()[0]  # noqa: B009  # untyped in torch
        return [getattr(value, name) for name in names]
    if value.layout is torch.sparse_coo:
        return [value._indices(), value._values()]  # of uncoalesced ones too
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices(), value.col_indices(), value.values()]
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [value.ccol_indices(), value.row_indices(), value.values()]
    return [value]


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _in_order(rows: list[tuple[int, str, tuple[int, ...], str, int, int]]) -> tuple[list[Saved], list[int]]:
    rows.sort(key=lambda row: row[:4])
    numbers: dict[int, int] = {}
    saved = [(*row[:4], numbers.setdefault(row[4], len(numbers))) for row in rows]
    sizes = {row[4]: row[5] for row in rows}
    return saved, [sizes[storage] for storage in numbers]


# The records


def recorded_calls(session: Session) -> list[Call]:
    """Every call that a session has, in the order in which they began."""
    graphs = {graph.id: graph for graph in session.reader.records(Graph)}
    ledgers = {ledger.id: ledger for ledger in session.reader.records(Ledger)}
    gradients: dict[tuple[int, int, str], dict[int, Norm]] = {}
    for part in session.reader.records(Gradients):
        gradients[part.step, part.backward, part.subject_kind] = _norms(part)
    calls = sorted(session.reader.records(Backward), key=lambda call: call.start_ns)
    return [
        _recorded_call(call, graphs.get(call.graph), ledgers.get(call.ledger), _Of(call, gradients)) for call in calls
    ]


class _Of(NamedTuple):
    """The gradients of one call."""

    call: Backward
    gradients: dict[tuple[int, int, str], dict[int, Norm]]

    def kind(self, kind: str) -> dict[int, Norm]:
        return self.gradients.get((self.call.step, self.call.index, kind), {})


def _norms(part: Gradients) -> dict[int, Norm]:
    columns = [_array(part.columns[name]) for name in ("count", "nan", "inf", "l2")]
    rows = zip(*columns, strict=True)
    return {subject: Norm(*row) for subject, row in zip(_array(part.subjects), rows, strict=True)}


def _recorded_call(record: Backward, graph: Graph | None, ledger: Ledger | None, of: _Of) -> Call:
    call = Call(record.call, raised=record.error is not None)
    if graph is None:  # there is no node to tell of: leaves by their ids
        call.walked, call.norms = False, of.kind("parameter")
        return call
    assert record.unobserved is None
    place = _read_graph(call, graph)
    if ledger is not None:
        _read_ledger(call, ledger, place)
        call.held = record.held_bytes
        assert sum(record.class_bytes) == sum(call.storages)
    call.labelled = {place[label.node] for label in graph.labels}
    node_of = {number: place[i] for i, number in enumerate(_array(graph.parameter)) if number >= 0}
    call.norms = {node_of[number]: norm for number, norm in of.kind("parameter").items() if number in node_of}
    call.node_norms = {place[number]: norm for number, norm in of.kind("node").items()}
    return call


def _read_graph(call: Call, graph: Graph) -> dict[int, int]:
    """Fill in nodes and edges. Returns the place in the call's order of each node of the record."""
    following: dict[int, list[tuple[int, int, int]]] = {}
    columns = (graph.edge_source, graph.edge_slot, graph.edge_target, graph.edge_input_nr)
    for source, slot, target, input_nr in zip(*map(_array, columns), strict=True):
        following.setdefault(source, []).append((slot, target, input_nr))
    order = list(graph.roots)
    place = {node: i for i, node in enumerate(order)}
    for node in order:  # grows
        for slot, target, input_nr in sorted(following.get(node, [])):
            if target not in place:
                place[target] = len(order)
                order.append(target)
            call.edges.append((place[node], slot, place[target], input_nr))
    assert len(order) == graph.node_count, "every node is reached from the roots"
    names = _array(graph.name)
    call.names = [graph.names[names[node]] for node in order]
    return place


def _read_ledger(call: Call, ledger: Ledger, place: dict[int, int]) -> None:
    columns = (ledger.node, ledger.role, ledger.shape, ledger.dtype, ledger.storage)
    sizes = _array(ledger.storage_bytes)
    rows = [
        (place[node], ledger.roles[role], tuple(ledger.shapes[shape]), ledger.dtypes[dtype], storage, sizes[storage])
        for node, role, shape, dtype, storage in zip(*map(_array, columns), strict=True)
    ]
    call.saved, call.storages = _in_order(rows)
    assert len(call.storages) == ledger.storage_count, "no storage without a saved tensor"
    bytes_of = [math.prod(row[2]) * getattr(torch, row[3]).itemsize for row in rows]
    assert sorted(bytes_of) == sorted(_array(ledger.tensor_bytes))


def _array(column: Column) -> list[Any]:
    return np.frombuffer(column.data, column.dtype).tolist()

"""Walks the autograd graph from the roots of a backward call and stores each distinct structure once."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.checkpoints import INSIDE
from gradwatch.capture.deep_graphs import keep_if_deep
from gradwatch.records import Column, Graph, NodeLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch.autograd.graph import Node

LEAF = "AccumulateGrad"
KNOWN_LABELS: dict[str, tuple[Any, str]] = {
    "CheckpointFunctionBackward": (
        "checkpointed",
        INSIDE,
    ),
    "CompiledFunctionBackward": ("compiled", "a compiled region: its inner ops and lines are not observable"),
    "GraphedBackward": (
        "hidden",
        "a callable captured into CUDA graphs: its inner ops and what it saved are not observable",
    ),
    "DifferentiableGraphBackward": (
        "hidden",
        "a TorchScript graph: its inner ops and what it saved are not observable",
    ),
    "CopySlices": ("hidden", "an in-place write into a view: what its inner op saved is not observable"),
}
"""Node names whose inside cannot be read, with the label and its text."""

FOREIGN = ("hidden", "a function written in C++: what it saved is not observable")
"""The label of nodes that torch does not tell the fields of: those of extensions."""

_name_of_type: dict[type, str] = {}
"""Of torch's own ops, which have a type each. Types of custom Functions may be made anew for each call."""

_OF_MANY = ("CppFunction",)
"""Types that ops of several names share."""

_PREFIXES = ("torch::autograd::", "torch::jit::(anonymous namespace)::")


WALK_CHUNK = 256
"""Nodes between two looks at the clock."""


@dataclass(slots=True)
class Walk:
    """A graph in forward order: leaves first, then by sequence number.

    `numbers` (int64, shape (nodes,)) are sequence numbers, -1 for leaves. Edge arrays (int64, shape
    (edges,)) hold positions in `nodes`.
    """

    nodes: list[Node]
    names: list[str]
    numbers: NDArray[np.int64]
    roots: list[int]
    edge_source: NDArray[np.int64]
    edge_slot: NDArray[np.int64]
    edge_target: NDArray[np.int64]
    edge_input_nr: NDArray[np.int64]
    expanded: int = -1
    """Of how many nodes the edges were read, where the walk was ended before it was through; -1: of all."""

    def leaves(self) -> list[tuple[int, torch.Tensor]]:
        """Positions of AccumulateGrad nodes with the tensors they accumulate into."""
        return [(i, self.nodes[i].variable) for i in np.flatnonzero(self.numbers < 0).tolist() if self.names[i] == LEAF]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType] # AccumulateGrad alone has it


def roots_of(outputs: Sequence[Any]) -> list[Node]:
    """The nodes that a backward call starts from: of tensors, or of gradient edges."""
    roots: list[Node] = []
    for output in outputs:
        if isinstance(output, torch.Tensor):
            if output.grad_fn is not None:
                roots.append(output.grad_fn)
            elif output.requires_grad:
                roots.append(torch.autograd.graph.get_gradient_edge(output).node)
        else:
            roots.append(output.node)
    return list(dict.fromkeys(roots))


def walk(roots: list[Node], is_over: Callable[[], bool] | None = None) -> Walk:
    """Everything reachable from `roots` through next_functions, nearest first, until `is_over`.

    Linear, without recursion.
    """
    nodes, edges, expanded = _reach(roots, is_over)
    numbers = np.array([node._sequence_nr() for node in nodes], np.uint64).astype(np.int64)  # no public getter
    order = np.lexsort((-np.arange(len(numbers)), numbers))  # leaves: those met last are nearest the input
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    flat = np.array(edges, np.int64)
    places: list[int] = order.tolist()
    ordered = [nodes[i] for i in places]
    source, target = place[flat[0::4]], place[flat[2::4]]
    keep_if_deep(ordered, source, target)
    return Walk(
        nodes=ordered,
        names=[short_name(node) for node in ordered],
        numbers=numbers[order],
        roots=[int(place[i]) for i in range(len(roots))],
        edge_source=source,
        edge_slot=flat[1::4],
        edge_target=target,
        edge_input_nr=flat[3::4],
        expanded=expanded,
    )


def _reach(roots: list[Node], is_over: Callable[[], bool] | None) -> tuple[list[Node], list[int], int]:
    nodes = list(roots)
    index = {node: i for i, node in enumerate(nodes)}
    edges: list[int] = []
    for i, node in enumerate(nodes):  # grows while it is walked
        if is_over is not None and i % WALK_CHUNK == WALK_CHUNK - 1 and is_over():
            return nodes, edges, i
        for slot, (target, input_nr) in enumerate(node.next_functions):
            if target is not None:
                j = index.get(target)
                if j is None:
                    j = index[target] = len(nodes)
                    nodes.append(target)
                edges += (i, slot, j, input_nr)
    return nodes, edges, -1


@dataclass(slots=True)
class Attribution:
    """Per node of a walk: module ids, raw site keys, later site ids (int64, -1 unknown), 1 where backward made it."""

    modules: NDArray[np.int64]
    sites: NDArray[np.int64]
    project_sites: NDArray[np.int64]
    in_backward: NDArray[np.uint8]


class Distinct:
    """Ids of distinct keys, which are kept as digests: a key may be megabytes."""

    def __init__(self) -> None:
        self._ids: dict[bytes | int, int] = {}
        self._next = 0

    def id_of(self, digest: bytes | int) -> tuple[int, bool]:
        """The key's id, and whether it is new."""
        found = self._ids.get(digest)
        if found is not None:
            return found, False
        number = self._ids[digest] = self._next
        self._next += 1
        return number, True

    def forget(self, digest: bytes | int) -> None:
        """The key gets a new id when it is met again."""
        del self._ids[digest]


def structure_digest(
    walked: Walk, attribution: Attribution, leaves: tuple[int, ...], labels: tuple[NodeLabel, ...]
) -> bytes:
    """What makes two graphs the same structure: all but sizes. Sequence numbers themselves differ every step."""
    digest = blake2b("\0".join(walked.names).encode(), digest_size=16)
    for array in (
        walked.edge_source,
        walked.edge_slot,
        walked.edge_target,
        walked.edge_input_nr,
        attribution.modules,
        attribution.sites,
        attribution.project_sites,
        attribution.in_backward,
    ):
        digest.update(array.tobytes())
    digest.update(repr((walked.roots, leaves, labels)).encode())
    return digest.digest()


def graph_record(
    number: int, walked: Walk, attribution: Attribution, leaves: tuple[int, ...], labels: tuple[NodeLabel, ...]
) -> Graph:
    """The record of a structure. `leaves` holds a parameter id per node, -1 where it is none."""
    names = list(dict.fromkeys(walked.names))
    at = {name: i for i, name in enumerate(names)}
    edges = np.stack([walked.edge_source, walked.edge_slot, walked.edge_target, walked.edge_input_nr])
    digest = blake2b(repr(walked.names).encode() + edges.tobytes() + repr(leaves).encode(), digest_size=8)
    return Graph(
        id=number,
        digest=digest.hexdigest(),
        names=names,
        node_count=len(walked.nodes),
        name=column([at[name] for name in walked.names], "<i4"),
        module=column(attribution.modules, "<i4"),
        site=column(attribution.sites, "<i4"),
        project_site=column(attribution.project_sites, "<i4"),
        parameter=column(leaves, "<i4"),
        in_backward=column(attribution.in_backward, "|u1"),
        roots=walked.roots,
        edge_count=len(walked.edge_source),
        edge_source=column(edges[0], "<u4"),
        edge_slot=column(edges[1], "<u4"),
        edge_target=column(edges[2], "<u4"),
        edge_input_nr=column(edges[3], "<u4"),
        labels=list(labels),
    )


def name_labels(walked: Walk) -> list[NodeLabel]:
    """Labels that follow from a node's name alone."""
    labels: list[NodeLabel] = []
    for i, name in enumerate(walked.names):
        found = KNOWN_LABELS.get(name) or (FOREIGN if "::" in name or "<" in name else None)
        if found is not None:
            labels.append(NodeLabel(i, *found))
    return labels


def hides_saved(name: str) -> bool:
    """Whether a node of this name has saved what only pack hooks see."""
    return name in ("CopySlices", "DifferentiableGraphBackward") or "::" in name or "<" in name


def short_name(node: Node) -> str:
    """A node's name without torch's own namespaces."""
    kind = type(node)
    name = _name_of_type.get(kind)
    if name is None:
        name = node.name()
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if kind.__name__ not in _OF_MANY and not issubclass(kind, torch.autograd.function.BackwardCFunction):
            _name_of_type[kind] = name
    return name


def column(values: Any, dtype: str) -> Column:
    """A Column of `values`, converted to `dtype`."""
    return Column(dtype, np.ascontiguousarray(values, np.dtype(dtype)).tobytes())


def release_order(walked: Walk) -> NDArray[np.int64]:
    """At which place autograd's engine runs each node (int64, shape (nodes,)), as one CPU thread does.

    The engine takes, of the nodes whose dependents have all run, the one with the highest sequence
    number; leaves count as the highest (torch/csrc/autograd/engine.cpp, CompareNodeTaskTime).
    """
    from heapq import heappop, heappush  # noqa: PLC0415  # once per structure

    count = len(walked.nodes)
    waits = np.bincount(walked.edge_target, minlength=count)
    by_source = np.argsort(walked.edge_source, kind="stable")
    starts = np.searchsorted(walked.edge_source[by_source], np.arange(count + 1)).tolist()
    targets: list[int] = walked.edge_target[by_source].tolist()
    priority: list[float] = np.where(walked.numbers < 0, -np.inf, -walked.numbers.astype(float)).tolist()
    place = np.full(count, count, np.int64)
    ready: list[tuple[float, int]] = []
    for root in walked.roots:
        if waits[root] == 0:
            heappush(ready, (priority[root], root))
    waiting: list[int] = waits.tolist()
    done = 0
    while ready:
        node = heappop(ready)[1]
        place[node] = done
        done += 1
        for edge in range(starts[node], starts[node + 1]):
            target = targets[edge]
            waiting[target] -= 1
            if waiting[target] == 0:
                heappush(ready, (priority[target], target))
    return place

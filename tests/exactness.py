"""Runs a program alone and recorded, and reads the live graph by itself: what a session says must be what is there."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor, _guards
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail
    from gradwatch.session.steps import BackwardView

Shape = Counter[tuple[str, tuple[str, ...]]]
"""A graph without its order: how many nodes of a name lead to nodes of these names."""


@dataclass
class Seen:
    """What a program gave: `results` is what it returned, or raised, as digests; `graphs` those it ran, in order."""

    results: object = None
    rng: str = ""
    graphs: list[Shape] = field(default_factory=list)


def check_exact(
    record: Record, program: Callable[[], object], detail: Detail, *, model: Any = None, **options: Any
) -> Session:
    """Run `program` alone and recorded: both must give the same bits, and each recorded graph be the live one.

    `program` makes everything anew, from its own seed, and returns tensors (parameters with their `.grad`, losses) in
    any structure, or raises. Calls of which the session says why their graph is not observed are not compared.
    """
    alone = run(program)
    found: list[Seen] = []
    session = record(lambda: found.append(run(program)), model, detail=detail, **options)
    assert found[0].results == alone.results
    assert found[0].rng == alone.rng
    assert found[0].graphs == alone.graphs
    stopped = [notice.traceback for notice in session.notices if notice.kind == "probe stopped"]
    assert not stopped, stopped[0]
    check_graphs(session, found[0].graphs)
    return session


def check_graphs(session: Session, graphs: list[Shape]) -> None:
    """Assert that every call's graph has the nodes and edges of the live one."""
    calls = calls_of(session)
    assert len(calls) == len(graphs)
    for call, graph in zip(calls, graphs, strict=True):
        if session.run.detail != "parameters" and call.unobserved is None:
            assert shape_of(call) == graph


def calls_of(session: Session) -> list[BackwardView]:
    """Every call into the engine, in the order in which they began."""
    calls = [call for step in session.steps for call in step.backwards]
    return sorted(calls, key=lambda call: call.start_ns)


def shape_of(call: BackwardView) -> Shape:
    graph = call.graph
    targets: dict[int, list[str]] = {}
    for edge in graph.edges:
        targets.setdefault(edge.source, []).append(graph.nodes[edge.target].name)
    return Counter((node.name, tuple(sorted(targets.get(at, [])))) for at, node in enumerate(graph.nodes))


def run(program: Callable[[], object]) -> Seen:
    """Run `program` from one seed, and note the graph of each call into autograd just before it."""
    seen = Seen()
    torch.manual_seed(0)
    with _calls_noted(seen.graphs):
        try:
            seen.results = digest(program())
        except Exception as error:  # noqa: BLE001 # whatever a program raises must stay what it is
            seen.results = (type(error).__name__, re.sub(r"0x[0-9a-f]+", "0x", str(error)))
    seen.rng = _hash(torch.get_rng_state())
    return seen


def digest(tree: object) -> object:
    """Replace every tensor by what tells it from others, bit by bit, with its `.grad`."""
    return tree_map(lambda leaf: _bits(leaf) if isinstance(leaf, Tensor) else leaf, tree)


@contextmanager
def _calls_noted(graphs: list[Shape]) -> Generator[None]:
    backward, grad = torch.autograd.backward, torch.autograd.grad

    def noted_backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_traced():
            graphs.append(live_shape(tensors))
        return backward(tensors, *arguments, **options)

    def noted_grad(outputs: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_traced():
            graphs.append(live_shape(outputs))
        return grad(outputs, *arguments, **options)

    with (
        mock.patch.object(torch.autograd, "backward", noted_backward),
        mock.patch.object(torch.autograd, "grad", noted_grad),
    ):
        yield


def _is_traced() -> bool:
    """AOTAutograd makes calls of its own while it traces."""
    return _guards.TracingContext.try_get() is not None


def live_shape(roots: Any) -> Shape:
    """The graph behind `roots`, by next_functions alone."""
    tensors: list[Any] = [roots] if isinstance(roots, Tensor) else list(roots)
    waiting = [_node_of(tensor) for tensor in tensors if tensor.requires_grad]
    seen: set[Any] = set()
    shape: Shape = Counter()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        following = [after for after, _ in node.next_functions if after is not None]
        shape[_name(node), tuple(sorted(map(_name, following)))] += 1
        waiting += following
    return shape


def _name(node: Any) -> str:
    return node.name().rsplit("::", 1)[-1]


def _node_of(tensor: Tensor) -> Any:
    if tensor.grad_fn is not None:
        return tensor.grad_fn
    return torch.autograd.graph.get_gradient_edge(tensor).node


def _bits(tensor: Tensor) -> object:
    gradient = tensor.grad if tensor.is_leaf else None
    return _one(tensor), None if gradient is None else _one(gradient)


def _one(tensor: Tensor) -> object:
    plain: Any = tensor.detach()
    if hasattr(plain, "to_local"):  # a DTensor
        plain = plain.to_local()
    if plain.is_meta:
        return "meta", str(plain.dtype), tuple(plain.shape)
    if plain.is_nested:
        return [_one(part) for part in plain.unbind()]
    if plain.layout is not torch.strided:
        return str(plain.layout), _one(plain.to_dense())
    return str(plain.dtype), tuple(plain.shape), _hash(plain)


def _hash(tensor: Tensor) -> str:
    dense = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    return hashlib.blake2b(dense.view(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()

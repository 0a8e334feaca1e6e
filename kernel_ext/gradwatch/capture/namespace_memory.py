"""What the variables of a notebook, and the last exception, hold: tensors, graphs, and bytes that they saved.

Reads what is there when it is asked; keeps nothing but weak references to storages.
"""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.graph import walk
from gradwatch.capture.holder_names import attributes_of
from gradwatch.capture.holder_search import tensors_alive
from gradwatch.capture.ledger import plain_tensors, read_saved
from gradwatch.capture.names import readable_locals
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.torch_internals import is_functorch, without_function

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

MAX_CHUNKS = 80
"""Of 256 nodes each: how much of the graphs behind one variable is walked."""

LAST = ("last_exc", "last_value", "last_traceback", "last_type")
"""Where Python keeps the last exception that nothing caught."""


@dataclass(slots=True)
class Holding:
    """What one name holds. `saved` are bytes that graphs behind it saved and that are in no tensor of its own."""

    name: str
    tensors: int = 0
    bytes: int = 0
    graphs: int = 0
    saved: int = 0
    nodes: int = 0
    storages: dict[int, int] = field(default_factory=dict[int, int])


def holdings(variables: Mapping[str, object], parameters: set[int]) -> list[Holding]:
    """What each variable holds, those without tensors left out. Storages of `parameters` count as no graph's."""
    with without_function():
        found = [holding_of(name, list(_tensors_of(value)), parameters) for name, value in list(variables.items())]
    return [each for each in found if each.tensors]


def holding_of(name: str, tensors: list[torch.Tensor], parameters: set[int]) -> Holding:
    """What tensors hold together, storages counted once."""
    holding = Holding(name, len(tensors))
    for tensor in tensors:
        holding.storages.update(_storages_of(tensor))
    holding.bytes = sum(holding.storages.values())
    nodes = list(dict.fromkeys(node for tensor in tensors if (node := _node_of(tensor)) is not None))
    holding.graphs = len(nodes)
    if nodes:
        looks = iter(range(MAX_CHUNKS))
        walked = walk(nodes, lambda: next(looks, None) is None)
        rows = read_saved(walked.nodes)
        saved = dict(zip(rows.storage_index, rows.storage_bytes, strict=True))
        own = holding.storages.keys() | parameters
        holding.saved = sum(size for address, size in saved.items() if address not in own)
        holding.nodes = len(walked.nodes)
    return holding


def parameter_storages(variables: Mapping[str, object]) -> set[int]:
    """The storages of parameters and buffers of the modules among variables."""
    modules = (value for value in list(variables.values()) if isinstance(value, torch.nn.Module))
    return {address for module in modules for tensor in _tensors_of(module) for address in _storages_of(tensor)}


def storage_bytes() -> int:
    """Bytes in the storages of all tensors that Python knows of, each counted once; on CUDA what is allocated there."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return sum(torch.cuda.memory_allocated(device) for device in range(torch.cuda.device_count()))
    found: dict[int, int] = {}
    with without_function():
        for tensor in tensors_alive():
            found.update(_storages_of(tensor))
    return sum(found.values())


def last_traceback() -> TracebackType | None:
    """The traceback of the last exception that nothing caught, where Python or IPython keeps it."""
    error: Any = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return getattr(sys, "last_traceback", None) or getattr(error, "__traceback__", None)


def traceback_holding(besides: Iterable[Holding], parameters: set[int]) -> Holding:
    """What the frames of the last exception hold that no variable does."""
    known = {address for holding in besides for address in holding.storages}
    tensors: dict[int, torch.Tensor] = {}
    with without_function():
        for trace in _chained(last_traceback()):
            for tensor in _tensors_of_frame(trace):
                if not known & _storages_of(tensor).keys():
                    tensors[id(tensor)] = tensor
        return holding_of("sys.last_traceback", list(tensors.values()), parameters)


def release(also: Iterable[object] = ()) -> int:
    """Let go of the last exception: the variables of its frames, and where Python keeps it. Returns bytes freed.

    `also` are objects (a shell's formatters of tracebacks) whose `tb`, `evalue` and `etype` are copies of it.
    """
    watched = _weakly_held(last_traceback())
    error: Any = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    for trace in list(_chained(last_traceback())):
        traceback.clear_frames(trace)
    if isinstance(error, BaseException):
        error.__traceback__ = None
    for name in LAST:
        if hasattr(sys, name):
            setattr(sys, name, None)
    for keeper in also:
        for name in ("tb", "evalue", "etype"):
            if getattr(keeper, name, None) is not None:
                setattr(keeper, name, None)
    del error
    gc.collect()
    return sum(size for reference, size in watched if reference() is None)


def _weakly_held(trace: TracebackType | None) -> list[tuple[weakref.ref[Any], int]]:
    found: dict[int, tuple[weakref.ref[Any], int]] = {}
    with without_function():
        for each in _chained(trace):
            for tensor in _tensors_of_frame(each):
                for part in _plain(tensor):
                    storage: Any = part.untyped_storage()
                    found[storage._cdata] = weakref.ref(storage), storage.nbytes()
    return list(found.values())


def _chained(trace: TracebackType | None) -> Iterator[TracebackType]:
    """A traceback, link by link."""
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _tensors_of_frame(trace: TracebackType) -> list[torch.Tensor]:
    with readable_locals(trace.tb_frame) as names:
        return [tensor for value in list(names.values()) for tensor in _tensors_of(value)]


def _tensors_of(value: object) -> Iterator[torch.Tensor]:
    """Tensors in a value: a container, a module with its gradients, or the attributes of an object."""
    if isinstance(value, torch.nn.Module):
        for tensor in (*torch.nn.Module.parameters(value), *torch.nn.Module.buffers(value)):
            yield tensor
            if tensor.is_leaf and tensor.grad is not None:
                yield tensor.grad
        return
    if isinstance(value, torch.optim.Optimizer):
        value = list(value.state.values())
    elif not isinstance(value, (torch.Tensor, list, tuple, dict, type)):
        value = attributes_of(value) if type(value).__module__ != "builtins" else None
        value = None if value is None or "__builtins__" in value else value
    if isinstance(value, list) and len(value) > _LONG:  # pyright: ignore[reportUnknownArgumentType] # whatever a program holds
        yield from (item for item in value if isinstance(item, torch.Tensor))  # pyright: ignore[reportUnknownVariableType]
    else:
        yield from tensors_within(value)


_LONG = 1000


def _node_of(tensor: torch.Tensor) -> Any:
    return None if is_functorch(tensor) else tensor.grad_fn


def _plain(tensor: torch.Tensor) -> list[torch.Tensor]:
    try:
        return list(plain_tensors(tensor))
    except Exception:  # noqa: BLE001 # a subclass is asked what it is made of: that is foreign code
        return []


def _storages_of(tensor: torch.Tensor) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in _plain(tensor):
        try:
            storage: Any = part.untyped_storage()
            found[storage._cdata] = storage.nbytes()
        except (RuntimeError, NotImplementedError):  # noqa: PERF203 # meta, fake and the like have none
            continue
    return found

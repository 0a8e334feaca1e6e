"""Reads what a graph holds for backward, without a hook: `_raw_saved_*` of every node.

`_raw_saved_X.data` gives the saved tensor without calling unpack and without a version check (reading
`_saved_X` would unpack: it triggers checkpoint recomputation). After release it is None; under
saved-tensor hooks it is whatever the pack hook returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.checkpoints import CHECKPOINT_MODULE, frame_of, inputs_of
from gradwatch.capture.deaths import Deaths
from gradwatch.capture.pack_hooks import SavedHandle
from gradwatch.capture.torch_internals import is_functorch
from gradwatch.records import NodeLabel

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterator

    from torch.autograd.graph import Node

MAX_CONTAINER = 1000
"""Longer containers on a custom Function's ctx are not searched for tensors."""

_RAW = "_raw_saved_"
_fields_of_type: dict[type, tuple[tuple[str, str], ...]] = {}


Entry = tuple[int, str, int, tuple[int, ...], torch.dtype]
"""One saved tensor: node, role, storage, shape, dtype."""


class SavedRows:
    """Saved tensors of one graph, in forward order, and the storages behind them.

    `sites` holds raw site keys (user, project) of nodes whose saves a pack hook saw. Storages are watched by
    weak reference, which holds while only C++ owns the storage. `read` is -1 where every node was read.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.recomputed: list[int] = []
        self.sites: dict[int, tuple[int, int]] = {}
        self.storage_index: dict[int, int] = {}
        self.storage_bytes: list[int] = []
        self.storage_device: list[torch.device] = []
        self.labels: list[NodeLabel] = []
        self.frames: set[int] = set()
        self.read = -1
        self._deaths = Deaths()
        self._refs: list[weakref.ref[Any] | None] = []

    @property
    def node(self) -> list[int]:
        return [entry[0] for entry in self.entries]

    @property
    def role(self) -> list[str]:
        return [entry[1] for entry in self.entries]

    @property
    def storage(self) -> list[int]:
        return [entry[2] for entry in self.entries]

    @property
    def shape(self) -> list[tuple[int, ...]]:
        return [tuple(entry[3]) for entry in self.entries]

    @property
    def dtype(self) -> list[torch.dtype]:
        return [entry[4] for entry in self.entries]

    def dead(self) -> list[tuple[int, int]]:
        """Storages that died, with the time (perf_counter_ns)."""
        died = self._deaths.items()
        at = {ref: index for index, ref in enumerate(self._refs)} if died else {}
        return [(at[ref], time) for ref, time in died]

    def add(self, node: int, role: str, tensor: torch.Tensor) -> None:
        """Add one saved tensor: a row for each plain tensor inside it, or a label when it has no storage."""
        if type(tensor) is torch.Tensor and tensor.layout is torch.strided and not is_functorch(tensor):
            self._add_plain(node, role, tensor)
            return
        try:
            plain = list(plain_tensors(tensor))
        except Exception as error:  # noqa: BLE001 # a subclass is asked what it is made of: that is foreign code
            self.label(node, "hidden", f"saved {type(tensor).__name__} has no readable storage ({error})")
            return
        if not plain:
            label = "functorch" if is_functorch(tensor) else "hidden"
            self.label(node, label, f"saved {type(tensor).__name__} has no storage of its own")
        for part in plain:
            self._add_plain(node, role, part)

    def _add_plain(self, node: int, role: str, tensor: torch.Tensor) -> None:
        storage: Any = tensor.untyped_storage()
        address = storage._cdata  # the storage's identity
        index = self.storage_index.get(address)
        if index is None:
            index = self.storage_index[address] = len(self.storage_bytes)
            self.storage_bytes.append(storage.nbytes())
            self.storage_device.append(tensor.device)
            self._refs.append(self._deaths.watch(storage))
        self.entries.append((node, role, index, tensor.shape, tensor.dtype))

    def add_hidden(self, node: int, address: int, size: int) -> None:
        """Add a storage that only the pack hooks saw: its tensor's shape is not known."""
        if address not in self.storage_index:
            self.storage_index[address] = len(self.storage_bytes)
            self.storage_bytes.append(size)
            self.storage_device.append(torch.device("cpu"))
            self._refs.append(None)
        self.entries.append((node, "hidden", self.storage_index[address], (size,), torch.uint8))

    def label(self, node: int, label: Any, text: str) -> None:
        self.labels.append(NodeLabel(node, label, text))

    def key(self) -> int:
        """What makes two ledgers of one graph the same, in this process."""
        return hash((tuple(self.entries), tuple(self.recomputed), tuple(self.storage_bytes)))


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The strided tensors that hold a tensor's data: itself, or the parts of a subclass or sparse layout."""
    if is_functorch(tensor):
        return
    if type(tensor) is not torch.Tensor and hasattr(tensor, "__tensor_flatten__"):
        names: list[str] = _untyped(tensor).__tensor_flatten__()[0]
        for name in names:
            inner = getattr(tensor, name)
            if isinstance(inner, torch.Tensor):
                yield from plain_tensors(inner)
    elif tensor.layout is torch.strided:
        yield tensor
    elif tensor.layout is torch.sparse_coo:
        yield tensor._indices()  # the public getter refuses uncoalesced tensors
        yield tensor._values()  # likewise
    else:
        yield from _compressed_parts(tensor)


def _compressed_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    yield tensor.crow_indices() if by_row else tensor.ccol_indices()
    yield tensor.col_indices() if by_row else tensor.row_indices()
    yield tensor.values()


def read_saved(nodes: list[Node], is_over: Callable[[], bool] | None = None) -> SavedRows:
    """Everything that `nodes` hold: what autograd saved, and tensors on the ctx of custom Functions.

    Where `is_over` ends it, `read` of the rows says of how many nodes.
    """
    rows = SavedRows()
    for position, node in enumerate(nodes):
        if is_over is not None and position % 256 == 255 and is_over():
            rows.read = position
            break
        for role, attribute in raw_fields(type(node)):
            _read_field(rows, position, role, raw_field(node, attribute))
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            _read_ctx(rows, position, node)
    return rows


def raw_fields(kind: type) -> tuple[tuple[str, str], ...]:
    """Roles and attributes of what a node of this type saves."""
    fields = _fields_of_type.get(kind)
    if fields is None:  # dir() costs 5 µs: once per node type
        found = tuple((name.removeprefix(_RAW), name) for name in dir(kind) if name.startswith(_RAW))
        fields = _fields_of_type[kind] = found
    return fields


def raw_field(node: Any, attribute: str) -> Any:
    """What a node holds in a field; None where it has let go of all it saved, which custom Functions raise about."""
    try:
        return getattr(node, attribute)
    except RuntimeError:
        return None


def _read_field(rows: SavedRows, node: int, role: str, raw: Any) -> None:
    if isinstance(raw, (tuple, list)):
        for i, item in enumerate(raw):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] # SavedTensor objects
            _read_saved(rows, node, f"{role}[{i}]", item)
    elif raw is not None:
        _read_saved(rows, node, role, raw)


def _read_saved(rows: SavedRows, node: int, role: str, raw: Any) -> None:
    try:
        data = raw.data
    except RuntimeError:  # released between the walk and here, by another thread's backward
        return
    if isinstance(data, torch.Tensor):
        rows.add(node, role, data)
    elif type(data) is SavedHandle:
        _read_handle(rows, node, role, data)
    elif type(data).__module__ == CHECKPOINT_MODULE:
        _read_checkpoint(rows, node, raw)
    elif data is not None:
        _read_packed(rows, node, role, data)


def _read_handle(rows: SavedRows, node: int, role: str, handle: SavedHandle) -> None:
    rows.add(node, role, handle.tensor)
    rows.sites[node] = handle.sites


def _read_checkpoint(rows: SavedRows, node: int, raw: Any) -> None:
    frame = frame_of(raw)
    rows.label(node, "checkpointed", "inside a checkpoint: recomputed in backward; only its inputs are held")
    if frame is not None and id(frame) not in rows.frames:
        rows.frames.add(id(frame))
        for data in inputs_of(frame):
            tensor = data.tensor if type(data) is SavedHandle else data
            if isinstance(tensor, torch.Tensor):
                rows.add(node, "checkpoint input", tensor)


def _read_packed(rows: SavedRows, node: int, role: str, packed: Any) -> None:
    """What another's pack hook left: tensors are read, and the node is labelled either way."""
    kind: type = type(packed)  # pyright: ignore[reportUnknownVariableType] # whatever the program's hook returned
    tensors = list(tensors_within(packed))
    offloaded = isinstance(packed, tuple) and len(packed) == 2 and isinstance(packed[0], torch.device)  # pyright: ignore[reportUnknownArgumentType] # save_on_cpu packs (device, tensor)
    if offloaded:
        rows.label(node, "offloaded", "saved on the CPU by save_on_cpu")
    else:
        rows.label(node, "user hooks", f"saved through the program's own hooks as {kind.__name__}")
    for tensor in tensors:
        rows.add(node, role, tensor)


def _read_ctx(rows: SavedRows, position: int, node: Any) -> None:
    for name, value in list(_attributes(node)):
        try:
            for tensor in tensors_within(value):
                rows.add(position, f"ctx.{name}", tensor)
        except Exception as error:  # noqa: BLE001, PERF203 # the program's own container may raise what it likes
            rows.label(position, "hidden", f"ctx.{name} could not be looked into ({error})")


def _untyped(value: Any) -> Any:
    return value


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:
    return iter(node.__dict__.items())


def tensors_within(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Tensors in a value and in the tuples, lists and dicts of it, three levels deep."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)) and depth < 3 and len(value) <= MAX_CONTAINER:  # pyright: ignore[reportUnknownArgumentType] # whatever the program put there
        items: Any = value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # likewise
        for item in items:
            yield from tensors_within(item, depth + 1)

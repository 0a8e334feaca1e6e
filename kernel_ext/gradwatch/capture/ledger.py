"""Reads what a graph holds for backward, without a hook: `_raw_saved_*` of every node.

`_raw_saved_X.data` gives the saved tensor without calling unpack and without a version check (reading
`_saved_X` would unpack: it triggers checkpoint recomputation). After release it is None; under
saved-tensor hooks it is whatever the pack hook returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.checkpoints import (
    CHECKPOINT_MODULE,
    CHECKPOINTED_FUNCTION,
    RECOMPUTED,
    captured,
    frame_of,
    held_by,
    text_of,
)
from gradwatch.capture.deaths import Deaths
from gradwatch.capture.nested_tensors import tensors_within
from gradwatch.capture.pack_hooks import SavedHandle
from gradwatch.capture.packed import label_of, tensors_of
from gradwatch.capture.shapes import shape_of
from gradwatch.capture.torch_internals import SavedTensor, is_functorch
from gradwatch.records import NodeLabel

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterator

    from torch.autograd.graph import Node

_RAW = "_raw_saved_"
_fields_of_type: dict[type, tuple[tuple[str, str], ...]] = {}


Entry = tuple[int, str, int, tuple[int, ...], torch.dtype]
"""One saved tensor: node, role, storage, shape, dtype."""


class SavedRows:
    """Saved tensors of one graph, in forward order, and the storages behind them.

    `sites` holds raw site keys (user, project) of nodes whose saves a pack hook saw. Storages are watched by
    weak reference, which holds while only C++ owns the storage. `frames` are those of non-reentrant
    checkpoints, by identity, with what to say of their nodes. `again` are entries that a checkpoint has recomputed,
    `packed` the addresses of storages that our pack hooks held by then. `read` is -1 where every node was read.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.recomputed: list[int] = []
        self.sites: dict[int, tuple[int, int]] = {}
        self.storage_index: dict[int, int] = {}
        self.storage_bytes: list[int] = []
        self.storage_device: list[torch.device] = []
        self.labels: list[NodeLabel] = []
        self.frames: dict[int, str] = {}
        self.again: set[int] = set()
        self.packed: set[int] = set()
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
        shape = shape_of(tensor) if tensor.is_nested else tensor.shape
        self.entries.append((node, role, index, shape, tensor.dtype))

    def add_hidden(self, node: int, address: int, size: int) -> None:
        """Add a storage that only the pack hooks saw: its tensor's shape is not known."""
        if address not in self.storage_index:
            self.storage_index[address] = len(self.storage_bytes)
            self.storage_bytes.append(size)
            self.storage_device.append(torch.device("cpu"))
            self._refs.append(None)
        self.entries.append((node, "hidden", self.storage_index[address], (size,), torch.uint8))

    def mark_recomputed(self, in_backward: Any = None) -> None:
        """Mark what was saved during backward: by a checkpoint, and by nodes (`in_backward`, per node) that it made."""
        marks = [0] * len(self.entries) if in_backward is None else in_backward[self.node].tolist()
        for index in self.again:
            marks[index] = 1
        self.recomputed = marks if any(marks) else []

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
            raw = raw_field(node, attribute)
            if type(raw) is SavedTensor:  # nearly all: without a call in between
                _read_saved(rows, position, role, raw)
            else:
                _read_field(rows, position, role, raw)
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
    if type(data) is torch.Tensor and getattr(raw, "unpack_hook", None) is None:  # nearly all
        rows.add(node, role, data)
        return
    if type(data) is SavedHandle:
        rows.sites[node] = data.sites
    _read_data(rows, node, role, (raw, data))


def _read_data(rows: SavedRows, node: int, role: str, saved: tuple[Any, Any]) -> None:
    raw, data = saved
    if type(data) is SavedHandle:
        rows.add(node, role, data.tensor)
        return
    hook = getattr(raw, "unpack_hook", None)
    if hook is None:
        if isinstance(data, torch.Tensor):
            rows.add(node, role, data)
    elif type(data).__module__ == CHECKPOINT_MODULE:
        _read_checkpoint(rows, node, raw)
    else:
        _read_packed(rows, node, role, (data, hook))


def _read_checkpoint(rows: SavedRows, node: int, raw: Any) -> None:
    frame = frame_of(raw)
    text = rows.frames.get(id(frame))
    is_new = text is None
    if text is None:
        text = rows.frames[id(frame)] = text_of(frame)
    rows.label(node, "checkpointed", text)
    if not is_new:
        return
    for role, value in held_by(frame):
        first = len(rows.entries)
        if type(value).__name__ == "SavedTensor":
            try:
                _read_data(rows, node, role, (value, value.data))
            except RuntimeError:  # released meanwhile
                continue
        else:
            for tensor in tensors_within(value):
                rows.add(node, role, tensor)
        if role == RECOMPUTED:
            rows.again.update(range(first, len(rows.entries)))


def _read_packed(rows: SavedRows, node: int, role: str, saved: tuple[Any, Any]) -> None:
    """What another's pack hook left: tensors are read, and the node is labelled either way."""
    packed, hook = saved
    tensors = tensors_of(packed, hook)
    rows.label(node, *label_of(packed, hook, counted=bool(tensors)))
    for tensor in tensors:
        rows.add(node, role, tensor)


def _read_ctx(rows: SavedRows, position: int, node: Any) -> None:
    for name, value in list(_attributes(node)):
        try:
            for tensor in tensors_within(value):
                rows.add(position, f"ctx.{name}", tensor)
            for tensor in captured(value) if name == CHECKPOINTED_FUNCTION else ():
                rows.add(position, "checkpoint function", tensor)
        except Exception as error:  # noqa: BLE001, PERF203 # the program's own container may raise what it likes
            rows.label(position, "hidden", f"ctx.{name} could not be looked into ({error})")


def _untyped(value: Any) -> Any:
    return value


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:
    return iter(node.__dict__.items())

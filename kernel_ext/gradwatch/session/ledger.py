"""What one graph saved for backward: saved tensors, the storages under them, and who is charged for each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import TENSOR_CLASSES
from gradwatch.session.columns import as_array, as_indices

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gradwatch.records import Ledger
    from gradwatch.session.session import Session

UNKNOWN = "(unknown)"


@dataclass(frozen=True, slots=True)
class SavedView:
    """One saved tensor. `bytes` is its own size, `storage_bytes` what its storage keeps allocated."""

    node: int
    op: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    storage: int
    storage_bytes: int
    tensor_class: str
    device: str
    module: str
    line: str | None
    recomputed: bool


class LedgerTable:
    """A Ledger record's columns, checked, with what its ids stand for."""

    def __init__(self, session: Session, record: Ledger) -> None:
        self.record = record
        self._session = session
        self._graph = session.graph_columns(record.graph)
        path, rows, storages = session.path, record.saved_count, record.storage_count
        self.node = as_indices(record.node, path, rows, 1 << 31)
        self.role = as_indices(record.role, path, rows, len(record.roles))
        self.shape = as_indices(record.shape, path, rows, len(record.shapes))
        self.dtype = as_indices(record.dtype, path, rows, len(record.dtypes))
        self.storage = as_indices(record.storage, path, rows, storages)
        self.tensor_bytes = as_array(record.tensor_bytes, path, rows)
        self.site = as_indices(record.site, path, rows, 1 << 31)
        self.recomputed = as_array(record.recomputed, path, rows)
        self.storage_bytes: NDArray[np.int64] = as_array(record.storage_bytes, path, storages).astype(np.int64)
        self.storage_class = as_indices(record.storage_class, path, storages, len(TENSOR_CLASSES))
        self.storage_device = as_indices(record.storage_device, path, storages, len(record.devices))

    @cached_property
    def charged_row(self) -> NDArray[np.int64]:
        """The row that each storage is charged to, int64 (storages,): its first saver in forward order; -1 for none."""
        nodes = np.where(self.node < 0, np.iinfo(np.int64).max, self.node)
        order = np.lexsort((nodes, self.storage))
        storages, first = np.unique(self.storage[order], return_index=True)
        rows = np.full(self.record.storage_count, -1, dtype=np.int64)
        rows[storages[storages >= 0]] = order[first[storages >= 0]]
        return rows

    def class_bytes(self) -> dict[str, int]:
        """Sum up the storages of each class."""
        return {name: int(self.storage_bytes[self.storage_class == i].sum()) for i, name in enumerate(TENSOR_CLASSES)}

    def saved(self, row: int) -> SavedView:
        record, storage = self.record, int(self.storage[row])
        return SavedView(
            node=int(self.node[row]),
            op=self.op(row),
            role=self.entry(record.roles, self.role[row]),
            shape=tuple(record.shapes[int(self.shape[row])]) if self.shape[row] >= 0 else (),
            dtype=self.entry(record.dtypes, int(self.dtype[row])),
            bytes=int(self.tensor_bytes[row]),
            storage=storage,
            storage_bytes=int(self.storage_bytes[storage]) if storage >= 0 else 0,
            tensor_class=self.entry(TENSOR_CLASSES, self.storage_class[storage]) if storage >= 0 else UNKNOWN,
            device=self.entry(record.devices, self.storage_device[storage]) if storage >= 0 else UNKNOWN,
            module=self.module(row),
            line=self.line(row),
            recomputed=bool(self.recomputed[row]),
        )

    def saved_of(self, node: int) -> list[SavedView]:
        """Return what one node saved."""
        order, nodes = self._by_node
        first, last = np.searchsorted(nodes, [node, node + 1])
        return [self.saved(int(row)) for row in order[first:last]]

    def outputs_of(self, node: int) -> list[tuple[tuple[int, ...], str]]:
        """Return shape and dtype of each output of one node."""
        nodes, shapes, dtypes = self._outputs
        first, last = np.searchsorted(nodes, [node, node + 1])
        record = self.record
        return [
            (tuple(record.shapes[int(shapes[row])]), self.entry(record.dtypes, int(dtypes[row])))
            for row in range(int(first), int(last))
        ]

    def op(self, row: int) -> str:
        return UNKNOWN if self._graph is None else self._graph.name(int(self.node[row]))

    def module(self, row: int) -> str:
        return "" if self._graph is None else self._graph.module(int(self.node[row]))

    def line(self, row: int) -> str | None:
        """Return the line that saved the tensor: the row's own where it has one, else its node's."""
        own = self._session.sources_by_id.label(int(self.site[row]))
        if own is not None or self._graph is None:
            return own
        return self._graph.line(int(self.node[row]))

    def entry(self, names: list[str] | tuple[str, ...], number: int | np.integer[Any]) -> str:
        """Return names[number], or "(unknown)" for -1."""
        return names[int(number)] if number >= 0 else UNKNOWN

    def labeller(self, key: str) -> Callable[[int], str]:
        """Return what turns a row into the label that `key` groups it under."""
        record = self.record
        labellers: dict[str, Callable[[int], str]] = {
            "module": lambda row: self.module(row) or "(no module)",
            "line": lambda row: self.line(row) or "(unknown line)",
            "op": self.op,
            "node": lambda row: f"{self.op(row)} #{self.node[row]}" if self.node[row] >= 0 else UNKNOWN,
            "dtype": lambda row: self.entry(record.dtypes, int(self.dtype[row])),
            "class": lambda row: self.entry(TENSOR_CLASSES, int(self.storage_class[self.storage[row]])),
            "role": lambda row: self.entry(record.roles, int(self.role[row])),
            "device": lambda row: self.entry(record.devices, int(self.storage_device[self.storage[row]])),
        }
        return labellers[key]

    @cached_property
    def _by_node(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        order = np.argsort(self.node, kind="stable")
        return order, self.node[order]

    @cached_property
    def _outputs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        record, path = self.record, self._session.path
        nodes = as_array(record.output_node, path).astype(np.int64)
        shapes = as_indices(record.output_shape, path, len(nodes), len(record.shapes))
        return nodes, shapes, as_indices(record.output_dtype, path, len(nodes), len(record.dtypes))

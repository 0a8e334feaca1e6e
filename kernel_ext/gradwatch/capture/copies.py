"""Finds saved tensors that hold the same data in different storages. Of steps 1, 2, 4, 8 ... that have details.

On the CPU their bytes are compared. On a device that would make the program wait, so nothing is said of those yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.graph import column
from gradwatch.capture.observers import Observer
from gradwatch.capture.saved_roles import saved_rows
from gradwatch.records import TENSOR_CLASSES, Copies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.recording import Recording

LEAST_BYTES = 1 << 18
"""Smaller ones are not looked at: two of them are nothing to change a program for."""

MOST_BYTES = 1 << 28
"""Compared at most in one call: a tenth of a second of memory bandwidth."""

MOST_PAIRS = 64

SAMPLES = 1024
"""Elements compared first: different data parts there."""

_OWN = {TENSOR_CLASSES.index("activation"), TENSOR_CLASSES.index("input")}


class SavedCopies(Observer):
    """Writes Copies records. Keeps nothing."""

    name = "saved copies"

    def start(self, recording: Recording) -> None:
        self._recording = recording
        self._looked = -1

    def backward_begins(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        del outputs
        step = self._recording.steps.number
        if step & (step - 1) or step == self._looked or not call.is_outermost or call.ledger < 0:
            return
        self._looked = step
        pairs = same_data(call)
        if pairs:
            first, second = (column([pair[i] for pair in pairs], "<i4") for i in (0, 1))
            self._recording.write(Copies(step, call.index, call.graph, call.ledger, first, second))


def same_data(call: BackwardCall) -> list[tuple[int, int]]:
    """Rows of the call's ledger whose storages are different and hold the same."""
    budget, pairs = MOST_BYTES, list[tuple[int, int]]()
    by_size: dict[tuple[int, torch.dtype], list[tuple[int, torch.Tensor]]] = {}
    for row, tensor in _whole_tensors(call):
        alike = by_size.setdefault((tensor.numel(), tensor.dtype), [])
        for other, first in alike:
            if budget <= 0 or len(pairs) >= MOST_PAIRS:
                return pairs
            if _sample_is_same(first, tensor):
                budget -= tensor.untyped_storage().nbytes()
                if _is_same(first, tensor):
                    pairs.append((other, row))
                    break
        else:
            alike.append((row, tensor))
    return pairs


def _whole_tensors(call: BackwardCall) -> list[tuple[int, torch.Tensor]]:
    """One saved tensor of each storage that it fills, with its row in the ledger. Read anew: rows keep no tensor."""
    assert call.walk is not None  # noqa: S101 # a call with a ledger was walked
    assert call.saved is not None  # noqa: S101 # likewise
    rows: dict[tuple[int, str], int] = {}
    for row, (node, role, storage, *_) in enumerate(call.saved.entries):
        is_large = call.saved.storage_bytes[storage] >= LEAST_BYTES
        if is_large and call.classes[storage] in _OWN and call.saved.storage_device[storage].type == "cpu":
            rows.setdefault((node, role), row)
    seen, found = set[int](), list[tuple[int, torch.Tensor]]()
    for node in sorted({node for node, _ in rows}):
        for role, tensor in saved_rows(call.walk.nodes[node]):
            row = rows.get((node, role))
            if row is None or call.saved.entries[row][2] in seen or not _fills_its_storage(tensor):
                continue
            seen.add(call.saved.entries[row][2])
            found.append((row, tensor.detach()))
    return found


def _fills_its_storage(tensor: torch.Tensor) -> bool:
    if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
        return False
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes() and _is_dense(tensor)


def _is_dense(tensor: torch.Tensor) -> bool:
    pairs = sorted((stride, extent) for stride, extent in zip(tensor.stride(), tensor.shape, strict=True) if extent > 1)
    expected = 1
    for stride, extent in pairs:
        if stride != expected:
            return False
        expected *= extent
    return True


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """The storage in the order in which it lies."""
    return tensor.as_strided((tensor.numel(),), (1,), 0)


def _sample_is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    step = max(1, one.numel() // SAMPLES)
    samples = one.flatten()[::step] if one.is_contiguous() else one.reshape(-1)[::step]
    if one.shape == other.shape and one.stride() == other.stride():
        return torch.equal(_flat(one)[::step], _flat(other)[::step])
    return torch.equal(samples, other.reshape(-1)[::step])


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.stride() == other.stride():
        return np.array_equal(_bytes(one), _bytes(other))
    return torch.equal(one.reshape(-1), other.reshape(-1))


def _bytes(tensor: torch.Tensor) -> Any:
    return _flat(tensor).view(torch.uint8).numpy() if tensor.dtype is not torch.bool else _flat(tensor).numpy()

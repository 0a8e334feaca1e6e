"""Ledgers (what a graph saved, with sizes) and how the held bytes fell during a backward call."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture.graph import column
from gradwatch.capture.shapes import shape_of_metadata
from gradwatch.records import TENSOR_CLASSES, Held, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.graph import Walk
    from gradwatch.capture.ledger import SavedRows
    from gradwatch.capture.pack_hooks import PackEvent

HELD_CLASSES = frozenset({"activation", "input", "not observable"})
"""Classes that backward alone keeps in memory; parameters and buffers would be there anyway."""

_CLASS_INDEX = {name: i for i, name in enumerate(TENSOR_CLASSES)}
IS_HELD = np.array([name in HELD_CLASSES for name in TENSOR_CLASSES])
"""Whether each of TENSOR_CLASSES counts as held (bool, shape (6,))."""


def class_indices(rows: SavedRows, class_of: Callable[[int], str]) -> list[int]:
    """The index into TENSOR_CLASSES of each storage. `class_of` takes a storage's address."""
    return [_CLASS_INDEX[class_of(address)] for address in rows.storage_index]


def bytes_by_class(rows: SavedRows, classes: list[int]) -> list[int]:
    """Bytes of each of TENSOR_CLASSES, every storage counted once."""
    return (
        np.bincount(classes, rows.storage_bytes, len(TENSOR_CLASSES)).astype(int).tolist()
        if classes
        else [0] * len(TENSOR_CLASSES)
    )


def ledger_record(number: int, graph: int, walked: Walk, rows: SavedRows, classes: list[int]) -> Ledger:
    """The record of a ledger; shapes and names are interned."""
    outputs = [
        (i, shape_of_metadata(meta), str(meta.dtype)) for i, node in enumerate(walked.nodes) for meta in _metadata(node)
    ]
    shapes = list(dict.fromkeys([*rows.shape, *(shape for _, shape, _ in outputs)]))
    dtypes = list(dict.fromkeys([*map(str, rows.dtype), *(dtype for _, _, dtype in outputs)]))
    roles = list(dict.fromkeys(rows.role))
    devices = list(dict.fromkeys(map(str, rows.storage_device)))
    return Ledger(
        id=number,
        graph=graph,
        roles=roles,
        shapes=[list(shape) for shape in shapes],
        dtypes=[dtype.removeprefix("torch.") for dtype in dtypes],
        devices=devices,
        saved_count=len(rows.entries),
        node=column(rows.node, "<i4"),
        role=_index_column(rows.role, roles),
        shape=_index_column(rows.shape, shapes),
        dtype=_index_column(map(str, rows.dtype), dtypes),
        storage=column(rows.storage, "<i4"),
        tensor_bytes=column(_tensor_bytes(rows), "<u8"),
        site=column([-1] * len(rows.entries), "<i4"),
        recomputed=column(rows.recomputed or [0] * len(rows.entries), "|u1"),
        storage_count=len(rows.storage_bytes),
        storage_bytes=column(rows.storage_bytes, "<u8"),
        storage_class=column(classes, "|u1"),
        storage_device=_index_column(map(str, rows.storage_device), devices),
        output_node=column([node for node, _, _ in outputs], "<i4"),
        output_shape=_index_column([shape for _, shape, _ in outputs], shapes),
        output_dtype=_index_column([dtype for _, _, dtype in outputs], dtypes),
    )


def _metadata(node: Any) -> Iterable[Any]:
    return node._input_metadata


def _index_column(values: Iterable[Any], table: list[Any]) -> Any:
    at = {value: i for i, value in enumerate(table)}
    return column([at[value] for value in values], "<i4")


def _tensor_bytes(rows: SavedRows) -> list[int]:
    return [prod(shape) * dtype.itemsize for shape, dtype in zip(rows.shape, rows.dtype, strict=True)]


def last_savers(rows: SavedRows, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place in `order` of the last node to run that saved each storage (int64, shape (storages,))."""
    last = np.zeros(len(rows.storage_bytes), np.int64)
    np.maximum.at(last, np.asarray(rows.storage, np.int64), order[np.asarray(rows.node, np.int64)])
    return last


def deaths_of(call: BackwardCall, rows: SavedRows) -> NDArray[np.int64]:
    """When each storage died, ns relative to the call's start (int64, shape (storages,)); -1 while alive."""
    died = np.full(len(rows.storage_bytes), -1, np.int64)
    for index, at in rows.dead():
        died[index] = max(0, at - call.start)
    return died


def estimated_release(call: BackwardCall, last: NDArray[np.int64], died: NDArray[np.int64]) -> NDArray[np.int64]:
    """When autograd let go of each storage (int64 ns from the call's start, -1 never), from the engine's order.

    Anchored at the storages that died in the call.

    A storage that nothing else holds dies when autograd releases it. One that the program still holds
    was released no earlier than those whose last saver ran before its own.
    """
    if call.retain_graph or call.error or call.has_inputs:
        return np.full(len(last), -1, np.int64)
    duration = call.end - call.start
    in_call = (died >= 0) & (died <= duration)
    order = np.argsort(last, kind="stable")
    times = np.maximum.accumulate(np.where(in_call, died, 0)[order])
    at = np.empty_like(times)
    at[order] = times
    return np.where(in_call, died, at)


def walk_curve(call: BackwardCall, released: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Held bytes from the call's start on: (ns relative to the start, bytes), int64, one point a release."""
    assert call.saved is not None  # noqa: S101 # curves are drawn of calls that were walked
    held = np.asarray(call.saved.storage_bytes, np.int64) * IS_HELD[np.asarray(call.classes, np.int64)]
    gone = released >= 0
    order = np.argsort(released[gone], kind="stable")
    times = released[gone][order]
    left = held.sum() - np.cumsum(held[gone][order])
    return np.concatenate([[0], times]), np.concatenate([[held.sum()], left])


@dataclass(slots=True)
class PackCurve:
    """Changes of the held bytes, in order; `saved` and `released` are an address's latest save and release."""

    before: int = 0
    times: list[int] = field(default_factory=list[int])
    changes: list[int] = field(default_factory=list[int])
    saved: dict[int, int] = field(default_factory=dict[int, int])
    released: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(slots=True)
class PackFold:
    """Replays saves and releases of the pack hooks; what is held now carries over from curve to curve."""

    counts: dict[int, int] = field(default_factory=dict[int, int])
    held: dict[int, PackEvent] = field(default_factory=dict[int, "PackEvent"])
    curve: PackCurve = field(default_factory=PackCurve)
    total: int = 0

    def replay(self, events: list[PackEvent], is_held: Callable[[int], bool]) -> None:
        """Draw `events` onto the curve, counting bytes of addresses that `is_held`."""
        curve = self.curve
        for event in events:
            time, address = event[0], event[1]
            change = self._apply(event)
            if change is None:
                continue
            if change >= 0:
                curve.saved[address] = time
                curve.released.pop(address, None)
            else:
                curve.released[address] = time
            if change and is_held(address):
                self.total += change
                curve.times.append(time)
                curve.changes.append(change)

    def take_curve(self) -> PackCurve:
        """The curve since the last call; the next begins with what is held now."""
        taken, self.curve = self.curve, PackCurve(before=self.total)
        return taken

    def _apply(self, event: PackEvent) -> int | None:
        """The change in bytes, or None when another saver still holds, or held already."""
        _, address, size, _, _ = event
        count = self.counts.get(address, 0)
        self.counts[address] = count + 1 if size >= 0 else count - 1
        if size >= 0:
            if count:
                return None
            self.held[address] = event
            return size
        if count > 1:
            return None
        del self.counts[address]
        saved = self.held.pop(address, None)
        return None if saved is None else -saved[2]


def held_from_walk(step: int, call: BackwardCall, order: NDArray[np.int64]) -> Held:
    """The Held record of a call that was walked only."""
    assert call.saved is not None  # noqa: S101 # as above
    died = deaths_of(call, call.saved)
    released = estimated_release(call, last_savers(call.saved, order), died)
    times, totals = walk_curve(call, released)
    return Held(
        step=step,
        backward=call.index,
        ledger=call.ledger,
        curve_source="walk",
        release_source="estimated",
        peak_bytes=int(totals[0]),
        peak_ns=0,
        curve_ns=column(times, "<i8"),
        curve_bytes=column(totals, "<i8"),
        released_ns=column(released, "<i8"),
        died_ns=column(died, "<i8"),
        on_peak=column([], "|u1"),
    )


def held_from_hooks(step: int, call: BackwardCall, curve: PackCurve, order: NDArray[np.int64]) -> Held:
    """The Held record of a call that pack hooks watched.

    Autograd packs no wrapped numbers, and the program's own hooks shadow ours: storages that the walk alone
    saw are held from the call's start to their estimated release.
    """
    assert call.saved is not None  # noqa: S101 # as above
    rows = call.saved
    died = deaths_of(call, rows)
    estimated = estimated_release(call, last_savers(rows, order), died)
    unseen = np.array([address not in rows.packed for address in rows.storage_index], bool)
    observed = np.array(
        [curve.released.get(address, call.start - 1) - call.start for address in rows.storage_index], np.int64
    )
    released = np.where(unseen, estimated, np.maximum(observed, -1))
    times, totals = _add_unseen(call, curve, np.flatnonzero(unseen), released)
    peak = int(np.argmax(totals))
    saved = np.array([_saved_at(address, call, curve) for address in rows.storage_index], np.int64)
    on_peak = (saved <= times[peak]) & ((released < 0) | (released > times[peak]))
    return Held(
        step=step,
        backward=call.index,
        ledger=call.ledger,
        curve_source="hooks",
        release_source="observed",
        peak_bytes=int(totals[peak]),
        peak_ns=int(times[peak]),
        curve_ns=column(times, "<i8"),
        curve_bytes=column(totals, "<i8"),
        released_ns=column(released, "<i8"),
        died_ns=column(died, "<i8"),
        on_peak=column(on_peak[np.asarray(rows.storage, np.int64)], "|u1"),
    )


def _saved_at(address: int, call: BackwardCall, curve: PackCurve) -> int:
    """When a storage began to be held, ns relative to the call's start. Before the curve does: the lowest number."""
    assert call.saved is not None  # noqa: S101 # as above
    if address not in call.saved.packed:
        return 0
    at = curve.saved.get(address)
    return np.iinfo(np.int64).min if at is None else at - call.start


def _add_unseen(
    call: BackwardCall, curve: PackCurve, unseen: NDArray[np.int64], released: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert call.saved is not None  # noqa: S101 # as above
    size = np.asarray(call.saved.storage_bytes, np.int64)[unseen] * IS_HELD[np.asarray(call.classes, np.int64)[unseen]]
    gone = released[unseen] >= 0
    times = np.concatenate(
        [[0], np.asarray(curve.times, np.int64) - call.start, np.zeros(len(size), np.int64), released[unseen][gone]]
    )
    times[0] = times.min()
    changes = np.concatenate([[curve.before], np.asarray(curve.changes, np.int64), size, -size[gone]])
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(changes[order])

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
"""Statistics of CUDA tensors: one fused Triton kernel a tensor, into a buffer on the device.

The kernel runs on the stream that is current, where the tensor was produced. `flush` starts one copy into
pinned memory; `has_landed` polls its event. Only `collect` may wait. Without Triton torch operations fill
the same buffer.

The reports that are off: lazy negation is private in torch; numpy's stubs leave `view` partly unknown.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.statistics_cpu import fill_row
from gradwatch.capture.statistics_layout import Extent, extent_of, unseen
from gradwatch.capture.statistics_rows import ROW, merge_into, negate_row, scale_row
from gradwatch.capture.statistics_torch import STATE, blocks_of, smallest_normal, torch_state
from gradwatch.records import HISTOGRAM_BINS

try:
    from gradwatch.capture.statistics_triton import launch
except ImportError:  # CUDA builds of torch for some platforms come without Triton
    launch = None

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gradwatch.capture.statistics_rows import Arena

SLOTS = 512
WORDS = len(STATE) + HISTOGRAM_BINS
"""int64 words a slot: counts; min and max as keys that order like the doubles they stand for; float64 sums,
by their bits; histogram counts."""

DIRECT = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})
"""Types the kernel reads itself; others are widened block by block."""

_GREATEST = (1 << 63) - 1
_COUNTS, _MIN, _MAX, _SUMS = slice(0, 4), 4, 5, slice(6, len(STATE))


class Slots:
    """SLOTS slots on a device and their mirror in (pinned) host memory. Never inference tensors."""

    def __init__(self, device: torch.device) -> None:
        with torch.inference_mode(mode=False), unseen():
            self.words = torch.empty((SLOTS, WORDS), dtype=torch.int64, device=device)
            self.landed = torch.empty((SLOTS, WORDS), dtype=torch.int64, pin_memory=device.type == "cuda")
            self.reals = self.words.view(torch.float64)
        self.host: NDArray[np.int64] = self.landed.numpy()
        self.reset()

    def reset(self) -> None:
        with unseen():
            self.words.zero_()
            self.words[:, _MIN].fill_(_GREATEST)
            self.words[:, _MAX].fill_(-_GREATEST - 1)


@dataclass(slots=True)
class Reading:
    """One part of a tensor that was read into a slot, for a row of the arena."""

    row: int
    slot: int
    extent: Extent
    negated: bool
    histogram: bool


@dataclass(slots=True)
class DeviceRows:
    """What one device computes for one table of rows."""

    device: torch.device
    pending: bool = False
    _chunks: list[Slots] = field(default_factory=list[Slots])
    _readings: list[Reading] = field(default_factory=list[Reading])
    _flushed: int = 0
    _landing: Any = None
    _cleared: Any = None
    _writers: dict[int, Any] = field(default_factory=dict[int, Any])  # streams that wrote since the last reset
    _joined: set[int] = field(default_factory=set[int])  # of those, the ones that waited for `_cleared`
    _in_triton: bool = launch is not None
    _lock: Any = field(default_factory=Lock)

    def add(self, row: int, tensor: Tensor, *, histogram: bool) -> None:
        """Read a plain tensor on this device on behalf of `row`. Launches and returns."""
        with self._lock, self._on_device(), unseen():
            slot = len(self._readings)
            if slot >= SLOTS * len(self._chunks):
                self._grow()
            self._join_stream()
            self._readings.append(Reading(row, slot, extent_of(tensor), tensor.is_neg(), histogram))
            self.pending = True
            self._read(tensor, slot, histogram=histogram)

    def _on_device(self) -> Any:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _grow(self) -> None:
        self._chunks.append(Slots(self.device))
        self._mark_cleared()

    def _mark_cleared(self) -> None:
        """Other streams must not write before the slots are reset on this one."""
        self._joined.clear()
        if self.device.type == "cuda":
            self._cleared = torch.cuda.Event()
            self._cleared.record()

    def _join_stream(self) -> None:
        if self.device.type != "cuda":
            return
        stream = torch.cuda.current_stream()
        if stream.cuda_stream not in self._joined:
            self._joined.add(stream.cuda_stream)
            self._writers[stream.cuda_stream] = stream
            stream.wait_event(self._cleared)
            for chunk in self._chunks:
                chunk.words.record_stream(stream)

    def _read(self, tensor: Tensor, slot: int, *, histogram: bool) -> None:
        chunk, place = self._chunks[slot // SLOTS], slot % SLOTS
        stored = tensor._neg_view() if tensor.is_neg() else tensor
        if self._in_triton:
            try:
                _read_in_triton(stored, chunk, place, histogram=histogram)
            except Exception:  # noqa: BLE001 - Triton needs a C compiler at run time and says so in many ways
                self._in_triton = False
        if not self._in_triton:
            _read_in_torch(stored, chunk, place, histogram=histogram)

    def flush(self) -> None:
        """Start one copy of all that was read so far into pinned memory. Does nothing when it was started."""
        if self._flushed == len(self._readings):
            return
        with self._lock, self._on_device(), unseen():
            self._flushed = len(self._readings)
            self._wait_for_streams()
            for start, chunk in zip(range(0, self._flushed, SLOTS), self._chunks, strict=False):
                used = min(SLOTS, self._flushed - start)
                chunk.landed[:used].copy_(chunk.words[:used], non_blocking=True)
            if self.device.type == "cuda":
                self._landing = torch.cuda.Event()
                self._landing.record()

    def _wait_for_streams(self) -> None:
        """Let the current stream (not the host) wait for every stream that wrote."""
        if self.device.type != "cuda":
            return
        current = torch.cuda.current_stream()
        for stream in self._writers.values():
            if stream != current:
                current.wait_stream(stream)
        for chunk in self._chunks:
            chunk.words.record_stream(current)

    def has_landed(self) -> bool:
        """Whether all that was read is in host memory. Never waits."""
        return self._flushed == len(self._readings) and (self._landing is None or self._landing.query())

    def collect(self, arena: Arena) -> None:
        """Move what was read into the arena's rows, once; waits where it has not landed."""
        if not self.pending:
            return
        self.flush()
        if self._landing is not None:
            self._landing.synchronize()
        self.pending = False
        for reading in self._readings:
            words = self._chunks[reading.slot // SLOTS].host[reading.slot % SLOTS]
            merge_into(arena.row(reading.row), _row_of(reading, words))
        self._reset()

    def clear(self) -> None:
        """Forget all that was read. Waits for nothing."""
        if self._readings:
            self._reset()

    def _reset(self) -> None:
        with self._lock, self._on_device(), unseen():
            self._wait_for_streams()
            for chunk in self._chunks:
                chunk.reset()
            self._readings.clear()
            self._writers.clear()
            self._flushed, self._landing, self.pending = 0, None, False
            self._mark_cleared()


def _row_of(reading: Reading, words: NDArray[np.int64]) -> NDArray[np.void]:
    state = words.astype(np.float64)
    state[[_MIN, _MAX]] = (words[[_MIN, _MAX]] ^ ((words[[_MIN, _MAX]] >> 63) & _GREATEST)).view(np.float64)
    state[_SUMS] = words[_SUMS].view(np.float64)
    row = np.zeros(1, ROW)
    fill_row(row, state, reading.extent.numel, histogram=reading.histogram)
    if reading.extent.repeat != 1:
        scale_row(row, reading.extent.repeat)
    if reading.negated:
        negate_row(row)
    return row


def _widen(piece: Tensor) -> Tensor:
    """Widen a block without loss: one-byte types to float32, integers to float64."""
    return piece.to(torch.float32 if piece.dtype.itemsize == 1 else torch.float64)


def _read_in_triton(tensor: Tensor, chunk: Slots, place: int, *, histogram: bool) -> None:
    assert launch is not None  # noqa: S101 - asked for only where there is Triton
    extent = extent_of(tensor)
    tiniest = smallest_normal(tensor.dtype)
    as_it_lies = extent.dense and tensor.dtype in DIRECT
    pieces = [tensor.as_strided((extent.numel,), (1,))] if as_it_lies else blocks_of(tensor)
    for piece in pieces:
        values = (piece if piece.dtype in DIRECT else _widen(piece)).contiguous()
        launch(values, (chunk.words, chunk.reals), place, tiniest, histogram=histogram)


def _read_in_torch(tensor: Tensor, chunk: Slots, place: int, *, histogram: bool) -> None:
    """Write (not add to) a slot: whatever a launch that failed half-way left there is overwritten."""
    state = torch_state(tensor, histogram=histogram)
    bits = state[[_MIN, _MAX]].view(torch.int64)
    keys = bits ^ ((bits >> 63) & _GREATEST)
    words = chunk.words[place]
    words[_COUNTS] = state[_COUNTS].to(torch.int64)
    words[_MIN : _MAX + 1] = keys
    chunk.reals[place][_SUMS] = state[_SUMS]
    words[len(STATE) :] = state[len(STATE) :].to(torch.int64)

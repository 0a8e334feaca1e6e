# pyright: reportPrivateUsage=false
"""Tensor statistics for the rest of capture: one interface that hides device, dtype and layout.

`StatisticRows.add` appends the statistics of one tensor and returns a row number; nothing is read back to
Python until `columns`. CPU rows are complete at once, CUDA rows when their copy has landed.

`reportPrivateUsage` is off because the only way to ask for function modes lives in `torch._C`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch._C import DisableTorchFunction
from torch._C import _len_torch_function_stack as function_modes

from gradwatch.capture.statistics_cpu import (
    CODES,
    CODES_WITH_HISTOGRAM,
    SMALL,
    Kernel,
    load_kernel,
    read_codes,
    read_columns,
    read_view,
    write_row,
)
from gradwatch.capture.statistics_layout import PLAIN_TYPES, Resolved, resolve
from gradwatch.capture.statistics_rows import (
    ROW,
    Arena,
    codes_of,
    columns_of,
    counts_from_codes,
    empty_row,
    merge_into,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from gradwatch.capture.statistics_cuda import DeviceRows

Rows: TypeAlias = "Sequence[int] | NDArray[np.int64] | None"

_ELSEWHERE = (0, 0, False)

__all__ = ["Resolved", "StatisticRows", "counts_from_codes", "resolve"]


class StatisticRows:
    """A growing table of tensor statistics.

    Threads may add at the same time; `clear`, `columns` and `histogram_codes` are for when nobody adds.
    Complex tensors are read as their real and imaginary parts, and `count` counts those parts, so that
    zeros, NaN and Inf never exceed it; L2 is the complex norm. Elements an expanded tensor repeats are read
    once and counted as often as they stand. A tensor with holes is gathered block by block. Implicit zeros
    of sparse tensors count.
    """

    def __init__(self, *, histogram: bool = False, kernel: Kernel | str | None = "compiled") -> None:
        """Start empty. `kernel=None` computes in torch even where the compiled kernel is there."""
        self._kernel = load_kernel() if isinstance(kernel, str) else kernel
        self._arena = Arena()
        self._addresses = self._arena.addresses
        self._devices: dict[int, DeviceRows] = {}
        self.histogram = histogram
        if self._kernel is not None:
            self._read_held, self._read = self._kernel.statistics_held, self._kernel.statistics
            self._level_held, self._level = self._kernel.level_held, self._kernel.level
        self.clear()

    @property
    def histogram(self) -> bool:
        """Whether rows added from now on get a histogram."""
        return self._histogram

    @histogram.setter
    def histogram(self, on: bool) -> None:
        self._histogram = on
        table = CODES_WITH_HISTOGRAM if on else CODES
        self._codes: dict[torch.dtype, int] = table if self._kernel is not None else {}

    def clear(self) -> None:
        """Forget all rows. Row numbers start again at 0."""
        for device in self._devices.values():
            device.clear()
        self._arena.clear()
        self._next = self._arena.next_number
        self.why_not: str | None = None
        """Why the last `add` that returned -1 did so."""
        self.labels: dict[int, str] = {}
        """Rows that stand for a part of their tensor only, and which ("local part")."""

    def __len__(self) -> int:
        return self._arena.used()

    def add(self, tensor: Tensor | None) -> int:
        """Append the statistics of `tensor` as it is now and return its row, -1 where it is not observable.

        Raises nothing on account of the tensor; `why_not` then has the reason.
        """
        data, code, contiguous = self._locate(tensor)
        if tensor is None or not data:
            return self._add_other(tensor)
        number = self._next()
        try:
            address = self._addresses[number]
        except IndexError:
            address = self._arena.grow(number)
        if contiguous:
            count = tensor.numel()
            (self._read_held if count <= SMALL else self._read)(data, count, code, address)
        elif self._kernel is not None:
            read_view(self._kernel, tensor, data, code, address)
        return number

    def add_many(self, tensors: Iterable[Tensor | None]) -> list[int]:
        """Append the statistics of many tensors, contiguous CPU ones in one call. Returns their rows."""
        numbers: list[int] = []
        data: list[int] = []
        codes: list[int] = []
        counts: list[int] = []
        addresses: list[int] = []
        for tensor in tensors:
            pointer, code, contiguous = self._locate(tensor)
            if contiguous and tensor is not None:
                number = self._arena.take()
                data.append(pointer)
                codes.append(code)
                counts.append(tensor.numel())
                addresses.append(self._addresses[number])
            else:
                number = self.add(tensor)
            numbers.append(number)
        if data and self._kernel is not None:
            arrays = (
                np.array(data, np.uintp),
                np.array(counts, np.int64),
                np.array(codes, np.int32),
                np.array(addresses, np.uintp),
            )
            self._kernel.many(len(data), *(array.ctypes.data for array in arrays))
        return numbers

    def _locate(self, tensor: Tensor | None) -> tuple[int, int, bool]:
        """Return data pointer, code, and whether contiguous, of a tensor the kernel can read as it lies.

        Else (0, 0, False): anything but a plain type on the CPU, a function mode that would see us ask, lazily
        negated, or without memory behind it (a view of a freed storage still has its offset as an address).
        """
        if tensor is None or type(tensor) not in PLAIN_TYPES or function_modes():
            return _ELSEWHERE
        try:  # layouts without storage, and functorch's wrappers, refuse one of these
            code = self._codes[tensor.dtype]
            if (
                not tensor.is_cpu
                or tensor.is_neg()
                or (tensor.storage_offset() and not tensor.untyped_storage().nbytes())
            ):
                return _ELSEWHERE
            contiguous = tensor.is_contiguous()
            data = 0 if tensor.is_nested and not contiguous else tensor.data_ptr()
        except (KeyError, RuntimeError):
            return _ELSEWHERE
        return (data, code, contiguous) if data else _ELSEWHERE

    def _add_other(self, tensor: Tensor | None) -> int:
        """Append what is not a plain CPU tensor, part by part."""
        with DisableTorchFunction():
            return self._add_parts(tensor)

    def _add_parts(self, tensor: Tensor | None) -> int:
        resolved = resolve(tensor)
        if resolved.unobserved is None and any(part.is_cuda for part in resolved.tensors):
            resolved.unobserved = _why_not_cuda()
        if resolved.unobserved is not None:
            self.why_not = resolved.unobserved
            return -1
        number = self._arena.take()
        if resolved.label is not None:
            self.labels[number] = resolved.label
        row = self._arena.row(number)
        row[:] = empty_row(resolved.implicit_zeros, histogram=self._histogram)
        scratch = np.empty(1, ROW)
        for part in resolved.tensors:
            if part.is_cuda:
                self._device(part).add(number, part, histogram=self._histogram)
            else:
                write_row(part, scratch, histogram=self._histogram, kernel=self._kernel)
                merge_into(row, scratch)
        return number

    def _device(self, tensor: Tensor) -> DeviceRows:
        index = tensor.get_device()
        device = self._devices.get(index)
        if device is None:
            from gradwatch.capture.statistics_cuda import DeviceRows  # noqa: PLC0415 - loads Triton, on CUDA only

            device = self._devices.setdefault(index, DeviceRows(tensor.device))
        return device

    def level(self, number: int) -> int:
        """Of a CPU row that was added: 2 where there is a NaN, else 1 where there is an Inf, else 0."""
        return self._arena.level(number)

    def level_of(self, tensor: Tensor) -> int:
        """`level` of a CPU tensor, without a row where the kernel reads it as it lies; -1: it is not observable."""
        data, code, contiguous = self._locate(tensor)
        if contiguous:
            count = tensor.numel()
            return (self._level_held if count <= SMALL else self._level)(data, count, code)
        try:
            number = self.add(tensor)
            return number if number < 0 else self.level(number)
        finally:
            self.clear()

    @property
    def pending(self) -> bool:
        """Whether rows wait for a device. False with CPU tensors alone."""
        return any(device.pending for device in self._devices.values())

    def flush(self) -> None:
        """Start copying what devices have computed; returns at once."""
        for device in self._devices.values():
            device.flush()

    def is_ready(self) -> bool:
        """Whether `columns` would return without waiting. Starts the copies if nobody has. Never waits."""
        self.flush()
        return all(device.has_landed() for device in self._devices.values())

    def columns(self, numbers: Rows = None) -> dict[str, NDArray[Any]]:
        """Return the columns of STATISTIC_DTYPES for these rows (all rows by default), in their order.

        Waits for devices whose rows have not landed: ask `is_ready` first in a training path. Raises
        IndexError where a number is no row of this table.
        """
        found = self._collect(numbers)
        if self._kernel is not None:
            return read_columns(self._kernel, self._arena, found)
        return columns_of(self._arena.heads(found))

    def norms(self, numbers: Rows = None) -> NDArray[np.float64]:
        """Return the L2 norms of these rows alone. Waits and raises like `columns`."""
        return self._gather(numbers)["l2"]

    def histogram_codes(self, numbers: Rows = None) -> NDArray[np.uint8]:
        """Return histograms, shape (rows, 64), coded as `records.Histograms` says. Waits like `columns`."""
        found = self._collect(numbers)
        if self._kernel is not None:
            return read_codes(self._kernel, self._arena, found)
        return codes_of(self._arena.histograms(found))

    def _gather(self, numbers: Rows) -> NDArray[np.void]:
        return self._arena.gather(self._collect(numbers))

    def _collect(self, numbers: Rows) -> NDArray[np.int64]:
        for device in self._devices.values():
            device.collect(self._arena)
        return np.ascontiguousarray(np.arange(len(self)) if numbers is None else numbers, np.int64)


def _why_not_cuda() -> str | None:
    """A launch while the program captures a CUDA graph would become part of its graph."""
    return "being captured into a CUDA graph" if torch.cuda.is_current_stream_capturing() else None

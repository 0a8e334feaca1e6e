"""One line about a tensor for a debugger's Variables pane, and the children worth showing. Cheaper than its repr.

On the CPU values are read where they are few; of more, a sample is, and what follows from it is marked "~". On
other devices nothing is read: a pane that lists variables must not wait for a GPU.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_cpu import load_kernel
from gradwatch.capture.statistics_layout import PLAIN_TYPES, READABLE, extent_of, unseen
from gradwatch.capture.torch_internals import is_functorch

if TYPE_CHECKING:
    from collections.abc import Iterator

EXACT = 1 << 17
"""Elements up to which all are read: about 30 µs with the compiled kernel. Half a repr, and it grows no more."""
EXACT_IN_TORCH = 1 << 10
"""The same where the kernel was not built."""
RUNS, RUN = 64, 64
"""A sample is so many runs of so many neighbours, spread evenly: scattered single values cost a cache miss each."""
GRID = 1 << 10
"""The same of a tensor with holes in memory."""
FEW = 4
"""Values that are shown themselves."""
WINDOW = 8
"""Rows and columns among the children."""


class _Rows(threading.local):
    def __init__(self) -> None:
        self.rows = StatisticRows()


_local = _Rows()


def describe(tensor: Tensor) -> str | None:
    """E.g. "Tensor [1000, 1000] float32 cpu | grad norm 4.4e+04 max 199.1". None: leave it to the tensor's own repr."""
    if type(tensor) not in PLAIN_TYPES or is_functorch(tensor):
        return None
    with torch._C.DisableTorchFunction():
        text = f"{type(tensor).__name__} {_form(tensor)}{_few_values(tensor)}"
        about = _about(tensor)
        return f"{text} | {about}" if about else text


def children(tensor: Tensor) -> Iterator[tuple[str, object, str | None]]:
    """Name, value and the expression after the tensor's own name ("" none) of what unfolds under a tensor."""
    with torch._C.DisableTorchFunction():
        yield "shape", tuple(tensor.shape), ".shape"
        yield "dtype", tensor.dtype, ".dtype"
        yield "device", tensor.device, ".device"
        yield "requires_grad", tensor.requires_grad, ".requires_grad"
        yield "grad", _grad(tensor), ".grad"
        yield "grad_fn", tensor.grad_fn, ".grad_fn"
        yield f"values[:{WINDOW}]", _window(tensor), None


def _form(tensor: Tensor) -> str:
    layout = "" if tensor.layout is torch.strided else f" {str(tensor.layout).removeprefix('torch.')}"
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} {tensor.device}{layout}"


def _about(tensor: Tensor) -> str:
    grad = _grad(tensor)
    if grad is not None:
        return f"grad {_statistics(grad) if _can_be_read(grad) else _read_before(tensor, grad)}"
    if tensor.grad_fn is not None:
        return tensor.grad_fn.name().removeprefix("torch::autograd::")
    if tensor.requires_grad:
        return "grad None"
    return "" if _shows_values(tensor) or not _can_be_read(tensor) else _statistics(tensor)


def _grad(tensor: Tensor) -> Tensor | None:
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None  # else asking warns


def _statistics(tensor: Tensor) -> str:
    if not tensor.numel():
        return "empty"
    is_sampled = extent_of(tensor).numel > (EXACT if load_kernel() else EXACT_IN_TORCH)
    read = _sample(tensor) if is_sampled else tensor
    share = tensor.numel() / read.numel() if is_sampled else 1.0
    rows = _local.rows
    number = rows.add(read)
    try:
        return "" if number < 0 else _text(rows._gather(np.array([number]))[0], share)
    finally:
        rows.clear()


def _read_before(leaf: Tensor, grad: Tensor) -> str:
    """The norm of a `.grad` on a device, where a stop's answer has read it since it was last written."""
    module: Any = sys.modules.get("gradwatch.capture.stop_history")
    entry = None if module is None else module.history._entries.get(id(leaf))
    if entry is None or entry.leaf() is not leaf or entry.now.gradient is None:
        return "not read"
    is_same = entry.now.gradient() is grad and entry.now.version == grad._version
    return f"norm {entry.now.norm:.4g}" if is_same and not math.isnan(entry.now.norm) else "not read"


def _text(row: Any, share: float) -> str:
    """`share`: how many values each that was read stands for; above 1 the rest is an estimate, and marked."""
    about, at_least = ("~", "≥") if share > 1 else ("", "")
    nan, inf = int(row["nan"]), int(row["inf"])
    parts = [f"{name} {about}{_count(found * share)}" for name, found in (("NaN", nan), ("Inf", inf)) if found]
    if nan + inf < int(row["count"]):
        largest = max(abs(float(row["min"])), abs(float(row["max"])))
        parts[:0] = [f"norm {about}{float(row['l2']) * share**0.5:.4g}", f"max {at_least}{largest:.4g}"]
    return " ".join(parts)


def _count(number: float) -> str:
    return f"{round(number):,}"


def _can_be_read(tensor: Tensor) -> bool:
    return tensor.is_cpu and tensor.layout is torch.strided and (tensor.dtype in READABLE or tensor.is_complex())


def _sample(tensor: Tensor) -> Tensor:
    extent = extent_of(tensor)
    with unseen():
        if extent.dense:
            return tensor.detach().as_strided((RUNS, RUN), (extent.numel // RUNS, 1), tensor.storage_offset())
        return _grid(tensor.detach())


def _grid(tensor: Tensor) -> Tensor:
    """Every n-th value along each dimension, longest first, until few are left."""
    while tensor.numel() > GRID:
        longest = max(range(tensor.dim()), key=tensor.size)
        step = min(tensor.size(longest), -(-tensor.numel() // GRID))
        tensor = tensor.as_strided(*_thinned(tensor, longest, step))
    return tensor


def _thinned(tensor: Tensor, dimension: int, step: int) -> tuple[list[int], list[int]]:
    size, stride = list(tensor.shape), list(tensor.stride())
    size[dimension], stride[dimension] = -(-size[dimension] // step), stride[dimension] * step
    return size, stride


def _shows_values(tensor: Tensor) -> bool:
    return 0 < tensor.numel() <= FEW and tensor.dim() <= 1 and _can_be_read(tensor)


def _few_values(tensor: Tensor) -> str:
    if not _shows_values(tensor):
        return ""
    values: Any = _numbers(tensor)
    return f" = {_number(values)}" if tensor.dim() == 0 else f" = [{', '.join(map(_number, values))}]"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, complex)) else str(value)


def _window(tensor: Tensor) -> object:
    if not _can_be_read(tensor):
        return f"on {tensor.device}: its values are in the gradwatch panel"
    with unseen():
        part = tensor.detach()
        while part.dim() > 2:
            if not part.shape[0]:
                return []
            part = part[0]
        return _numbers(part[:WINDOW] if part.dim() == 1 else part[:WINDOW, :WINDOW] if part.dim() else part)


def _numbers(tensor: Tensor) -> object:
    with unseen():
        plain: Any = tensor.detach()
        return plain.tolist()

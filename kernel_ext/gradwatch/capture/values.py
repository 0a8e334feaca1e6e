"""Values of one tensor at a stop, a window at a time: cut out on its device, and only the window is copied."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture import shown
from gradwatch.capture.budget import Budget
from gradwatch.capture.graph import column
from gradwatch.capture.nonfinite_search import first_nonfinite
from gradwatch.capture.saved_roles import saved_rows
from gradwatch.capture.statistics_layout import PLAIN_TYPES, resolve, unseen
from gradwatch.capture.torch_internals import is_functorch
from gradwatch.errors import UsageError
from gradwatch.records import Missing, Subject, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

MAX_VALUES = 4096
DEFAULT_MS = 1000.0


@dataclass(slots=True)
class Window:
    """Rows and columns of the last two dimensions, at one index of the leading ones; `fit` moves it inside."""

    index: list[int]
    row: int
    column: int
    rows: int
    columns: int

    def fit(self, shape: tuple[int, ...]) -> Window:
        height, width = (1, 1, *shape)[-2:] if len(shape) != 1 else (1, shape[0])
        leading = shape[:-2]
        asked = [*self.index, *[0] * len(leading)]
        index = [max(0, min(at, size - 1)) for at, size in zip(asked, leading, strict=False)]
        row, start = min(max(0, self.row), max(0, height - 1)), min(max(0, self.column), max(0, width - 1))
        columns = min(max(0, self.columns), width - start, MAX_VALUES)
        rows = min(max(0, self.rows), height - row, MAX_VALUES // max(1, columns))
        if 0 in shape:
            rows = columns = 0
        return Window(index, row, start, rows, columns)


def values(request: Mapping[str, Any]) -> Values:
    """Answer the question "values". Raises UsageError where there is nothing to show, with the way to see it."""
    subject = _subject(request.get("subject"))
    budget = Budget(float(request.get("budget_ms") or DEFAULT_MS))
    tensor = tensor_of(subject)
    with unseen():
        plain, notes = _readable(tensor)
        window = _window(request).fit(tuple(plain.shape))
        cut = _cut(plain, window)
        found = None
        if request.get("find_nonfinite"):
            found = first_nonfinite(plain, budget)
    return Values(
        subject=subject,
        shape=list(plain.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        device=str(plain.device),
        index=window.index,
        row=window.row,
        column=window.column,
        rows=window.rows,
        columns=window.columns,
        values=column(cut, "<f8" if cut.itemsize == 8 else "<f4"),
        first_nonfinite=found,
        missing=[*(Missing("values", note) for note in notes), *budget.missing],
    )


def tensor_of(subject: Subject) -> Tensor:
    """The tensor that a subject names. Raises UsageError saying what is there instead."""
    if subject.node >= 0:
        return _of_node(subject)
    if subject.parameter >= 0:
        found, what = shown.parameter(subject.stop, subject.parameter), "parameter"
    else:
        found, what = shown.variable(subject.stop, subject.variable), "variable"
    if found is None:
        raise _gone(what, subject)
    return found if subject.field == "value" else _grad_of(found, what)


def _gone(what: str, subject: Subject) -> UsageError:
    return UsageError(
        f"The {what} shown at stop {subject.stop} is no longer there: the program has moved on. Refresh the panel."
    )


def _grad_of(tensor: Tensor, what: str) -> Tensor:
    if not tensor.is_leaf and not tensor.retains_grad:
        raise UsageError(
            f"Autograd keeps no .grad for this {what}: it is no leaf. Call retain_grad() on it before backward."
        )
    if tensor.grad is None:
        raise UsageError(f"The .grad of this {what} is None at this stop.")
    return tensor.grad


def _of_node(subject: Subject) -> Tensor:
    node: Any = shown.node(subject.stop, subject.node)
    if node is None:
        raise _gone("node", subject)
    if subject.field == "grad output":
        return _grad_output(node, subject.position)
    saved = [tensor for role, tensor in saved_rows(node) if role == subject.role]
    if not saved:
        raise UsageError(
            f"{node.name()} holds no saved tensor {subject.role!r} now: backward has let go of it, or the program's "
            "own hooks packed it away."
        )
    return saved[min(max(0, subject.position), len(saved) - 1)]


def _grad_output(node: Any, position: int) -> Tensor:
    conditions: Any = sys.modules.get("gradwatch.capture.conditions")
    standing = None if conditions is None else conditions.stopped_at()
    if standing is None or standing.node is not node:
        raise UsageError(
            f"The gradient of {node.name()} is known only while backward stands at it. Choose Break at This Node."
        )
    gradients: tuple[Tensor | None, ...] = standing.grad_outputs
    gradient = gradients[position] if 0 <= position < len(gradients) else None
    if gradient is None:
        raise UsageError(f"{node.name()} was given no gradient for output {position}, which counts as zero.")
    return gradient


def _readable(tensor: Tensor) -> tuple[Tensor, list[str]]:
    """A strided tensor with the values, and what must be said about it."""
    name, notes = type(tensor).__name__, list[str]()
    if type(tensor) not in PLAIN_TYPES:
        resolved = resolve(tensor)
        inner = resolved.tensors[0] if len(resolved.tensors) == 1 else None
        if inner is None or not (resolved.label or inner.shape == tensor.shape):
            raise _refused(
                name, resolved.unobserved or "it is made of several tensors", "print it in the debug console"
            )
        if resolved.label:
            notes.append(f"{name}: the {resolved.label} on this rank, of {list(tensor.shape)} in all")
        tensor = inner
    _refuse_unreadable(tensor)
    if tensor.is_complex():
        notes.append("complex: magnitudes are shown")
    if tensor.is_quantized:
        notes.append("quantized: dequantized values are shown")
    return tensor, notes


def _refuse_unreadable(tensor: Tensor) -> None:
    name = type(tensor).__name__
    if is_functorch(tensor):
        raise _refused(name, "it belongs to a functorch transform (torch.func)", "stop outside of the transform")
    if tensor.device.type == "meta":
        raise _refused(name, "it is on the meta device", "materialise it, for example with to_empty()")
    if tensor.is_nested:
        raise _refused(name, "it is nested", "evaluate .unbind() and choose one part")
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise _refused(name, f"its layout is {layout}", "assign .to_dense() or .values() to a variable and choose that")
    if tensor.numel() and not tensor.is_quantized and tensor.untyped_storage().nbytes() == 0:
        raise _refused(name, "its storage was freed", "stop before the program frees it")
    if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
        raise _refused(name, "a CUDA graph is being captured", "stop outside of the capture")


def _refused(name: str, reason: str, way_out: str) -> UsageError:
    return UsageError(f"The values of this {name} cannot be shown: {reason}. To see them, {way_out}.")


def _cut(tensor: Tensor, window: Window) -> NDArray[Any]:
    """The window's values, `<f4`, or `<f8` where that would change one."""
    if not window.rows * window.columns:
        return np.empty(0, "<f4")
    part = tensor.detach()
    for at in window.index:
        part = part[at]
    while part.dim() < 2:
        part = part[None]
    part = part[window.row : window.row + window.rows, window.column : window.column + window.columns]
    return narrowed(_plain_numbers(part))


def _plain_numbers(part: Tensor) -> NDArray[Any]:
    if part.is_quantized:
        part = part.dequantize()
    if part.is_complex():
        part = part.abs()  # conjugation does not change it
    if part.dtype.is_floating_point and part.dtype.itemsize < 4:
        part = part.to(torch.float32)
    return part.resolve_neg().cpu().contiguous().numpy()


def narrowed(wide: NDArray[Any]) -> NDArray[Any]:
    """As float32 where no value overflows, vanishes or, as an integer, changes by that; else as float64."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = wide.astype("<f4")
    if wide.dtype.kind == "f":
        fits = (np.isinf(narrow) == np.isinf(wide)) & ((narrow == 0) == (wide == 0))
    else:
        fits = narrow.astype(np.float64) == wide.astype(np.float64)
    return narrow if bool(np.all(fits)) else wide.astype("<f8")


def _subject(given: Any) -> Subject:
    try:
        return Subject(**{each.name: given[each.name] for each in fields(Subject) if each.name in given})
    except TypeError:
        raise UsageError(f"The question names no tensor: its subject is {str(given)[:80]}.") from None


def _window(request: Mapping[str, Any]) -> Window:
    given: list[Any] = request.get("index") or []
    index = [int(at) for at in given]
    numbers = (int(request.get(name, default)) for name, default in _DEFAULTS.items())
    return Window(index, *numbers)


_DEFAULTS = {"row": 0, "column": 0, "rows": 16, "columns": 32}

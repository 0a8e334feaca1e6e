"""One look at a tensor's values: what of it is not finite, and its statistics as an Operand."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.shapes import shape_of
from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_layout import PLAIN_TYPES, unseen
from gradwatch.capture.torch_internals import is_functorch
from gradwatch.records import Operand

if TYPE_CHECKING:
    from torch import Tensor

FINITE, INF, NAN = 0, 1, 2
"""How bad a value is: NaN where there is one, else Inf."""


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.rows = StatisticRows()


_scratch = _Scratch()


def level_now(tensor: Tensor | None) -> int | None:
    """How bad a tensor on the CPU is; None for what has no such values, or cannot be read without waiting."""
    if tensor is None or not can_be_bad(tensor) or not tensor.is_cpu:
        return None
    level = _scratch.rows.level_of(tensor)
    return None if level < 0 else level


def can_be_bad(tensor: Tensor) -> bool:
    """Whether a tensor's dtype has NaN, and it is no wrapper without values."""
    return (tensor.dtype.is_floating_point or tensor.dtype.is_complex) and not is_functorch(tensor)


@dataclass(slots=True)
class Reading:
    """A tensor's statistics, a row perhaps still on its device, with what was counted besides."""

    role: str
    shape: list[int]
    dtype: str
    row: int
    facts: dict[str, float] = field(default_factory=dict[str, float])

    def operand(self, columns: dict[str, Any]) -> Operand:
        """As a record, with the columns of its rows' table."""
        at = self.row
        count, zeros, nan, inf = (int(columns[name][at]) for name in ("count", "zeros", "nan", "inf"))
        low, high = (float(columns[name][at]) for name in ("min", "max"))
        facts = {"subnormals": float(columns["subnormals"][at]), "l2": float(columns["l2"][at]), **self.facts}
        return Operand(self.role, self.shape, self.dtype, count, zeros, nan, inf, low, high, facts)


def read(rows: StatisticRows, role: str, tensor: Tensor) -> Reading | None:
    """A reading of a tensor into `rows`; None where it cannot be read."""
    if not can_be_bad(tensor):
        return None
    number = rows.add(tensor)
    if number < 0:
        return None
    shape = shape_of(tensor) if tensor.is_nested else tensor.shape
    return Reading(role, list(shape), str(tensor.dtype).removeprefix("torch."), number)


def facts_of(tensor: Tensor) -> dict[str, float]:
    """What else a cause asks for of a plain tensor on the CPU: counts of values at the edges of functions."""
    if not tensor.is_cpu or type(tensor) not in PLAIN_TYPES or not tensor.dtype.is_floating_point:
        return {}
    with unseen():
        values = tensor.detach()
        facts = {
            "negative": float((values < 0).sum()),
            "ones": float((values.abs() == 1).sum()),
            "beyond one": float((values.abs() > 1).sum()),
            "minus inf": float((values == -math.inf).sum()),
        }
        if values.dim() > 0 and values.shape[-1] > 0:
            facts["rows all -inf"] = float((values == -math.inf).all(-1).sum())
            facts["rows of one value"] = float((values.amax(-1) == values.amin(-1)).sum())
        return facts


def unselected(given: Tensor, made: Tensor) -> float:
    """Of the bad values that a node made, how many it was given a gradient of 0 for. Both on the CPU."""
    if given.shape != made.shape or not (given.is_cpu and made.is_cpu) or type(made) is not torch.Tensor:
        return -1
    with unseen():
        return float(((given.detach() == 0) & ~made.detach().isfinite()).sum())

"""Looks at one gradient where it stands, for a condition: non-finite values and L2 norm in one bounded pass."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradwatch.capture.statistics import StatisticRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor


class Check(NamedTuple):
    """What is in one gradient. `norm` is over finite values; complex parts count one by one."""

    values: int
    nan: int
    inf: int
    norm: float

    @property
    def nonfinite(self) -> int:
        return self.nan + self.inf

    def describe(self) -> str:
        """What is not finite, as text: "NaN", "Inf" or "NaN and Inf"."""
        return " and ".join(name for name, found in (("NaN", self.nan), ("Inf", self.inf)) if found)


class _Rows(threading.local):
    def __init__(self) -> None:
        self.rows = StatisticRows()


class Checks:
    """Checks gradients on whatever thread runs the node.

    On a GPU each check waits for the device: a stop at exactly this node is what the user asked for. No memory in
    proportion to the tensor is taken. Gradients whose values cannot be read are passed over.
    """

    def __init__(self) -> None:
        self._local = _Rows()

    def check(self, gradient: Tensor) -> Check | None:
        rows = self._local.rows
        number = rows.add(gradient)
        try:
            if number < 0:
                return None
            found = rows._gather(np.array([number]))[0]
            return Check(int(found["count"]), int(found["nan"]), int(found["inf"]), float(found["l2"]))
        finally:
            rows.clear()

    def each(self, gradients: Iterable[Tensor | None]) -> Iterator[tuple[int, Check]]:
        """The gradients that can be read, with their positions."""
        for position, gradient in enumerate(gradients):
            found = None if gradient is None else self.check(gradient)
            if found is not None:
                yield position, found

    def first_nonfinite(self, gradients: Iterable[Tensor | None]) -> tuple[int, Check] | None:
        return next(((position, found) for position, found in self.each(gradients) if found.nonfinite), None)

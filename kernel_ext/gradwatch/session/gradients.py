"""Gradient statistics in columns, and all subjects of one step."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import STATISTIC_DTYPES, Gradients
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.records import SubjectKind

COUNTS = frozenset(name for name, dtype in STATISTIC_DTYPES.items() if dtype == "<u8")
"""Statistics that are whole numbers."""


class Statistics:
    """Statistics in numpy columns, one entry per row: counts int64, the rest float64.

    Counts are over all elements; min, max, mean, L1 and L2 over finite ones, NaN where there is none.
    A column that was not recorded is NaN, or -1 for counts.
    """

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self._columns = columns

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Every statistic by its name."""
        return self._columns

    @property
    def norm(self) -> NDArray[np.float64]:
        """L2 norm."""
        return self.columns["l2"]

    @property
    def l1(self) -> NDArray[np.float64]:
        return self.columns["l1"]

    @property
    def min(self) -> NDArray[np.float64]:
        return self.columns["min"]

    @property
    def max(self) -> NDArray[np.float64]:
        return self.columns["max"]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.columns["mean"]

    @property
    def abs_max(self) -> NDArray[np.float64]:
        """Largest absolute value."""
        return np.maximum(np.abs(self.min), np.abs(self.max))

    @property
    def count(self) -> NDArray[np.int64]:
        """Number of elements."""
        return self.columns["count"]

    @property
    def zeros(self) -> NDArray[np.int64]:
        return self.columns["zeros"]

    @property
    def nan(self) -> NDArray[np.int64]:
        return self.columns["nan"]

    @property
    def inf(self) -> NDArray[np.int64]:
        return self.columns["inf"]

    @property
    def subnormals(self) -> NDArray[np.int64]:
        return self.columns["subnormals"]

    @property
    def zero_fraction(self) -> NDArray[np.float64]:
        """Share of elements that are zero, 0 to 1; NaN for empty tensors."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.count > 0, self.zeros / self.count, np.nan)


class GradientRows(Statistics):
    """Gradients of one step, a row per subject (and per backward call where there are several).

    `subjects` (int64) are parameter, module output or node ids; `backward` (int64) the index of the call.
    """

    def __init__(self, parts: list[Gradients], kind: SubjectKind, path: Path, name: Callable[[int, int], str]) -> None:
        self.kind: SubjectKind = kind
        self.step = parts[0].step if parts else -1
        self._name = name
        sizes = [len(as_array(part.subjects, path)) for part in parts]
        self.subjects: NDArray[np.int64] = _joined([as_array(part.subjects, path) for part in parts], np.int64)
        self.backward: NDArray[np.int64] = np.repeat(np.array([p.backward for p in parts], dtype=np.int64), sizes)
        super().__init__({key: _statistic(key, parts, sizes, path) for key in STATISTIC_DTYPES})

    @cached_property
    def names(self) -> list[str]:
        """What each row is about: names of parameters or module outputs, or the nodes' ops."""
        pairs = zip(self.backward.tolist(), self.subjects.tolist(), strict=True)
        return [self._name(backward, subject) for backward, subject in pairs]

    def last_calls_only(self) -> GradientRows:
        """Keep of each subject the row of the last backward call that reached it."""
        order = np.lexsort((self.backward, self.subjects))
        last = np.append(self.subjects[order][1:] != self.subjects[order][:-1], True)[: len(order)]
        return self._rows(np.sort(order[last]))

    def of_backward(self, index: int) -> GradientRows:
        """Keep the rows of one backward call."""
        return self._rows(np.flatnonzero(self.backward == index))

    def row(self, position: int) -> dict[str, float | int]:
        """Return one row's statistics by name."""
        return {key: column[position].item() for key, column in self.columns.items()}

    def _rows(self, positions: NDArray[np.intp]) -> GradientRows:
        chosen = GradientRows.__new__(GradientRows)
        chosen.kind, chosen.step, chosen._name = self.kind, self.step, self._name  # noqa: SLF001  # own class
        chosen.subjects, chosen.backward = self.subjects[positions], self.backward[positions]
        chosen._columns = {key: column[positions] for key, column in self.columns.items()}  # noqa: SLF001  # own class
        return chosen

    def __len__(self) -> int:
        return len(self.subjects)

    def __repr__(self) -> str:
        return f"<gradients of {len(self)} {self.kind}s at step {self.step}>"


def _statistic(name: str, parts: list[Gradients], sizes: list[int], path: Path) -> NDArray[Any]:
    kind = np.int64 if name in COUNTS else np.float64
    absent = -1 if name in COUNTS else np.nan
    columns = [
        as_array(part.columns[name], path, size) if name in part.columns else np.full(size, absent)
        for part, size in zip(parts, sizes, strict=True)
    ]
    return _joined(columns, kind)


def _joined(parts: list[NDArray[Any]], kind: type[Any]) -> NDArray[Any]:
    return np.concatenate([part.astype(kind) for part in parts]) if parts else np.empty(0, dtype=kind)

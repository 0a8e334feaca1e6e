"""What autograd held for backward when a call began, by module, line, op and more, and how it was let go."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import UsageError
from gradwatch.records import TENSOR_CLASSES
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradwatch.records import CurveSource, Held, ReleaseSource
    from gradwatch.session.ledger import LedgerTable, SavedView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView

KEYS = ("module", "line", "op", "node", "dtype", "class", "role", "device")

HELD_CLASSES = ("activation", "input", "not observable")
"""What is counted unless other classes are asked for: the rest would be allocated without autograd too."""


class HeldView:
    """Bytes held for backward in one call.

    Each storage is charged once, wholly, to its first saver in forward order, so every `by` of the same
    classes sums to the same total. `total_bytes` and `peak_bytes` count activations, inputs and what is
    not observable; `class_bytes` has all classes.
    """

    def __init__(self, session: Session, backward: BackwardView, ledger: LedgerTable | None, held: Held | None) -> None:
        self._session = session
        self._ledger = ledger
        self._held = held
        self.backward = backward
        self.curve_source: CurveSource | None = held.curve_source if held else None
        self.release_source: ReleaseSource | None = held.release_source if held else None
        self.peak_bytes: int | None = held.peak_bytes if held else None
        self.peak_ns: int | None = held.peak_ns if held else None
        self.unobserved = backward.unobserved

    @cached_property
    def class_bytes(self) -> dict[str, int]:
        """Bytes of each class of tensor, when the call began. Raises UsageError where they were not recorded."""
        if self._ledger is None and self.backward.class_bytes:
            return dict(zip(TENSOR_CLASSES, self.backward.class_bytes, strict=False))
        return self._ledger_or_error().class_bytes()

    @property
    def total_bytes(self) -> int:
        """Bytes held when the call began, of the classes that `by` counts unless told otherwise."""
        return sum(self.class_bytes.get(name, 0) for name in HELD_CLASSES)

    def by(self, key: str, classes: Sequence[str] = HELD_CLASSES) -> list[tuple[str, int]]:
        """Group the bytes held when the call began, largest first.

        `key` is module, line, op, node, dtype, class, role or device. Raises UsageError for another key or
        an unknown class, or where no ledger was recorded.
        """
        if key not in KEYS:
            raise UsageError(f"Held bytes cannot be grouped by {key!r}. Choose one of: {', '.join(KEYS)}.")
        ledger = self._ledger_or_error()
        label = ledger.labeller(key)
        totals: Counter[str] = Counter()
        for storage in np.flatnonzero(np.isin(ledger.storage_class, _class_numbers(classes))).tolist():
            row = int(ledger.charged_row[storage])
            totals[label(row) if row >= 0 else "(no saver)"] += int(ledger.storage_bytes[storage])
        return sorted(totals.items(), key=lambda entry: (-entry[1], entry[0]))

    @property
    def saved(self) -> list[SavedView]:
        """Every saved tensor, of every class."""
        ledger = self._ledger_or_error()
        return [ledger.saved(row) for row in range(ledger.record.saved_count)]

    @property
    def on_peak(self) -> list[SavedView]:
        """The saved tensors that were held at the peak."""
        ledger = self._ledger_or_error()
        if self._held is None or not self._held.on_peak.data:
            return self.saved
        marks = as_array(self._held.on_peak, self._session.path, ledger.record.saved_count)
        return [ledger.saved(int(row)) for row in np.flatnonzero(marks)]

    @cached_property
    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Times in ns from the call's start, and bytes held from then on; both int64 and empty where not recorded."""
        if self._held is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        times = as_array(self._held.curve_ns, self._session.path).astype(np.int64)
        return times, as_array(self._held.curve_bytes, self._session.path, len(times)).astype(np.int64)

    @property
    def released(self) -> NDArray[np.int64] | None:
        """When autograd let go of each storage, ns from the call's start, int64; -1 when this call did not."""
        return None if self._held is None else as_array(self._held.released_ns, self._session.path).astype(np.int64)

    @property
    def died(self) -> NDArray[np.int64] | None:
        """When each storage was freed, ns from the call's start, int64; -1 when it outlived the call."""
        return None if self._held is None else as_array(self._held.died_ns, self._session.path).astype(np.int64)

    def _ledger_or_error(self) -> LedgerTable:
        if self._ledger is not None:
            return self._ledger
        call = f"backward call {self.backward.index} of step {self.backward.step}"
        if self.unobserved:
            raise UsageError(f"What {call} held is not observable: {self.unobserved}")
        if self.backward.graph_id < 0 and self._session.run.detail == "parameters":
            raise UsageError(f'What {call} held was not read. Record with detail="modules" or "nodes", or held=True.')
        raise UsageError(
            f"What was saved was not recorded at {call}. As a file grows, it is recorded every few steps only."
        )

    def __repr__(self) -> str:
        call = f"step {self.backward.step}, call {self.backward.index}"
        size = f"{self.total_bytes:,} bytes" if self._ledger or self.backward.class_bytes else "bytes not recorded"
        return f"<held at {call}: {size}>"


def _class_numbers(classes: Sequence[str]) -> list[int]:
    unknown = [name for name in classes if name not in TENSOR_CLASSES]
    if isinstance(classes, str) or unknown:
        raise UsageError(f"There is no class of tensor {unknown or classes!r}. There are: {', '.join(TENSOR_CLASSES)}.")
    return [number for number, name in enumerate(TENSOR_CLASSES) if name in classes]

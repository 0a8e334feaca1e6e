"""Statistics rows that are used again, once nobody reads them any more."""

from __future__ import annotations

from threading import Lock

from gradwatch.capture.statistics import StatisticRows


class RowPool:
    """Hands out tables of rows, and takes each back when its last holder lets go.

    A backward call holds its own; an optimizer step also holds those of the calls whose gradients it used,
    which may lie in a step that is written before its own.
    """

    def __init__(self) -> None:
        self._free: list[StatisticRows] = []
        self._holders: dict[int, int] = {}
        self._lock = Lock()

    def new(self, *, histogram: bool) -> StatisticRows:
        """An empty table with one holder."""
        with self._lock:
            rows = self._free.pop() if self._free else StatisticRows()
            rows.lease += 1
            self._holders[id(rows)] = 1
        rows.histogram = histogram
        return rows

    def hold(self, rows: StatisticRows, lease: int) -> bool:
        """Become one more holder. False when the table was given back since `lease`, and may be another's by now."""
        with self._lock:
            holders = self._holders.get(id(rows), 0)
            if not holders or rows.lease != lease:
                return False
            self._holders[id(rows)] = holders + 1
            return True

    def let_go(self, rows: StatisticRows) -> None:
        """Stop holding: the last one to do so gives the table back."""
        with self._lock:
            holders = self._holders.pop(id(rows), 1) - 1
            if holders:
                self._holders[id(rows)] = holders
                return
            rows.clear()
            self._free.append(rows)

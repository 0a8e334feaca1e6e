"""Statistics rows that are used again, once their step is written."""

from __future__ import annotations

from threading import Lock

from gradwatch.capture.statistics import StatisticRows


class RowPool:
    """Hands out tables of rows, one each to a backward call or an optimizer step, and takes them back."""

    def __init__(self) -> None:
        self._free: list[StatisticRows] = []
        self._lock = Lock()

    def new(self, *, histogram: bool) -> StatisticRows:
        """An empty table."""
        with self._lock:
            rows = self._free.pop() if self._free else StatisticRows()
        rows.histogram = histogram
        return rows

    def let_go(self, rows: StatisticRows) -> None:
        """Take a table back that nobody reads any more."""
        rows.clear()
        with self._lock:
            self._free.append(rows)

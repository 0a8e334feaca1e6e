"""One thread's running lines against autograd's sequence numbers: written by the line clock, read by bisection."""

from __future__ import annotations

from bisect import bisect_right

from gradwatch.capture.sites import UNKNOWN

MAX_ENTRIES = 1 << 18
"""Entries kept for one thread; the older half goes when they are exceeded."""


class Timeline:
    """One thread's lines: sealed entries (first number, user key, project key), then the line now running."""

    __slots__ = ("entries", "project", "start", "user")

    def __init__(self, start: int) -> None:
        self.entries: list[tuple[int, int, int]] = []
        self.start = start
        self.user = UNKNOWN
        self.project = UNKNOWN

    def advance(self, number: int) -> None:
        """Seal the running line, which made the nodes below `number`, and begin the next one."""
        if number > self.start:
            self.entries.append((self.start, self.user, self.project))
            if len(self.entries) > MAX_ENTRIES:
                del self.entries[: MAX_ENTRIES // 2]
        elif number < self.start:  # autograd counts per thread: this one got the key of one that has ended
            self.entries.clear()
            self.user = self.project = UNKNOWN
        self.start = number

    def give_up(self) -> None:
        """Let no node be charged to the running line, which nobody watches any more."""
        self.user = self.project = UNKNOWN

    def covering(self, lowest: int, highest: int) -> list[tuple[int, int, int]]:
        """Return the entries that cover numbers from `lowest` to `highest`, the running line last.

        The running line is read first: what its thread seals meanwhile stands among the entries.
        """
        running = (self.start, self.user, self.project)
        entries = self.entries[:]
        if not entries or running[0] > entries[-1][0]:
            entries.append(running)
        first = max(0, bisect_right(entries, lowest, key=_first_number) - 1)
        return entries[first : bisect_right(entries, highest, key=_first_number)]

    def forget(self, before: int) -> None:
        """Drop the lines whose nodes all have numbers below `before`."""
        del self.entries[: max(0, bisect_right(self.entries, before, key=_first_number) - 1)]


def _first_number(entry: tuple[int, int, int]) -> int:
    return entry[0]

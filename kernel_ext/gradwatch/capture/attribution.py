"""Which module, and which line, a node belongs to: read from its sequence number.

Autograd numbers nodes in forward order, per thread. Entering and leaving a module notes the number
reached, so the module's nodes are those numbered in between; nothing is done per node until backward.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.capture.torch_internals import sequence_number

if TYPE_CHECKING:
    from numpy.typing import NDArray


Place = tuple[int, int, int]
"""A module id, and the raw site keys of its call: innermost user code, innermost project code. -1: unknown."""

NOWHERE: Place = (-1, -1, -1)


class Intervals:
    """One thread's record of which module call was innermost from which sequence number on."""

    __slots__ = ("_pruning", "numbers", "places", "stack")

    def __init__(self) -> None:
        self._pruning = threading.Lock()
        self.numbers: list[int] = []
        self.places: list[Place] = []
        self.stack: list[Place] = []

    def enter(self, place: Place) -> None:
        self.stack.append(place)
        self._note(place)

    def leave(self) -> None:
        self.stack.pop()
        self.note_top()

    def note_top(self) -> None:
        """From here on the top of the stack is innermost."""
        self._note(self.stack[-1] if self.stack else NOWHERE)

    def correct_top(self) -> None:
        """The top of the stack has been innermost since the last note: what was noted there was abandoned."""
        if self.places:
            self.places[-1] = self.stack[-1] if self.stack else NOWHERE

    def _note(self, place: Place) -> None:
        number = sequence_number()
        numbers = self.numbers
        # Most calls make no node before the next one begins: overwriting keeps this no longer than the graph.
        if numbers and numbers[-1] == number:
            self.places[-1] = place
        else:
            numbers.append(number)
            self.places.append(place)

    def forget_before(self, number: int) -> None:
        """Drop what lies before `number`, but the entry that still covers it."""
        with self._pruning:  # a step may end on one thread while another reads its own intervals
            keep_from = max(0, bisect_left(self.numbers, number) - 1)
            if keep_from:
                del self.numbers[:keep_from], self.places[:keep_from]

    def resolve(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The Place of each sequence number, innermost first (int64, shape (3, numbers); -1 where unknown)."""
        with self._pruning:
            starts, places = self.numbers[:], self.places[:]
        count = min(len(starts), len(places))  # their own thread may be between the two
        if not count:
            return np.full((3, len(numbers)), -1, np.int64)
        at = np.searchsorted(np.array(starts[:count], np.int64), numbers, side="right") - 1
        places = np.ascontiguousarray(np.array(places[:count], np.int64)[at], np.int64)
        places[at < 0] = -1
        return np.ascontiguousarray(np.swapaxes(places, 0, 1), np.int64)


class ThreadIntervals:
    """Intervals by thread, and the rule for which thread's numbers a graph carries."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._all: dict[int, Intervals] = {}

    def mine(self) -> Intervals:
        """The calling thread's intervals."""
        try:
            return self._local.intervals
        except AttributeError:
            intervals = self._local.intervals = Intervals()
            self._all[threading.get_ident()] = intervals
            return intervals

    def owner(self, caller: int) -> int | None:
        """The thread whose numbers the graph of a backward call from thread `caller` carries.

        A node does not tell its thread. The caller's own forward comes first; else the only thread
        that ran one; None where several did, which would be a guess.
        """
        active = [thread for thread, intervals in self._all.items() if intervals.numbers]
        if caller in active:
            return caller
        if len(active) == 1:
            return active[0]
        return caller if not active else None

    def of(self, thread: int) -> Intervals | None:
        return self._all.get(thread)

    def marks(self) -> dict[int, int]:
        """The latest noted number of each thread: give it to `forget_before` a step later."""
        return {thread: intervals.numbers[-1] for thread, intervals in self._all.items() if intervals.numbers}

    def forget_before(self, marks: dict[int, int]) -> None:
        for thread, number in marks.items():
            self._all[thread].forget_before(number)

"""A probe is one kind of hook with a switch: when its body fails it is switched off and the failure is told.

The user's program never sees an exception of ours. KeyboardInterrupt and SystemExit are the user's
and pass through.
"""

from __future__ import annotations

import sys
import traceback
from time import perf_counter_ns
from typing import TYPE_CHECKING

from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable


class Probe:
    """One kind of hook. Bodies run while `enabled`; `failed()` belongs in their except clause."""

    __slots__ = ("_tell", "enabled", "name")

    def __init__(self, name: str, tell: Callable[[Notice], None]) -> None:
        self.name = name
        self.enabled = True
        self._tell = tell

    def failed(self) -> None:
        """Switch this probe off and tell why. Call while the exception is being handled."""
        error = sys.exc_info()[1]
        first = self.enabled
        self.enabled = False
        if first:
            self._tell(self._notice(error))

    def _notice(self, error: BaseException | None) -> Notice:
        summary = "".join(traceback.format_exception_only(type(error), error)).strip()
        return Notice(
            kind="probe stopped",
            text=f"The {self.name} probe failed and was switched off; the program was not affected. {summary}",
            probe=self.name,
            traceback="".join(traceback.format_exception(type(error), error, error.__traceback__)) if error else None,
        )


class Cost:
    """Nanoseconds spent inside our own code on the program's threads."""

    __slots__ = ("nanoseconds",)

    def __init__(self) -> None:
        self.nanoseconds = 0

    def since(self, start_ns: int) -> None:
        """Add the time since `start_ns`, a reading of time.perf_counter_ns."""
        self.nanoseconds += perf_counter_ns() - start_ns

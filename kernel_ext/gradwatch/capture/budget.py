"""How long an answer may take, and what of it is not there because the time ended."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradwatch.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_MS = 2000.0
LONGEST_MS = 600_000.0
OVER = "the time budget ended"


_called_off: list[int] = [0]


def call_off() -> None:
    """End the budget of every answer that is being made: nobody waits for it any more. From any thread."""
    _called_off[0] += 1


class Budget:
    """The time of one answer by part, and its gaps."""

    def __init__(self, milliseconds: float = DEFAULT_MS) -> None:
        self._called_off = _called_off[0]
        self.start = perf_counter()
        self.end = self.start + milliseconds / 1000
        self.missing: list[Missing] = []
        self.cost_ms: dict[str, float] = {}

    def is_over(self) -> bool:
        return perf_counter() >= self.end or self._called_off != _called_off[0]

    def left(self) -> float:
        """Seconds that are left, 0 when there are none."""
        return 0.0 if self._called_off != _called_off[0] else max(0.0, self.end - perf_counter())

    def share(self, part: float) -> Callable[[], bool]:
        """What tells when this part of the time that is left now is over."""
        end = perf_counter() + part * self.left()
        return lambda: perf_counter() >= end or self.is_over()

    def misses(self, part: Any, reason: str, done: int = 0, total: int = 0) -> None:
        self.missing.append(Missing(part, reason, done, total))

    def moves(self, part: str, whole: str, milliseconds: float) -> None:
        """Charge time to `part` that `whole` will be charged for too."""
        self.cost_ms[part] = round(self.cost_ms.get(part, 0.0) + milliseconds, 3)
        self.cost_ms[whole] = self.cost_ms.get(whole, 0.0) - milliseconds

    def spent(self, part: str, since: float) -> None:
        """Charge the time since `since`, a reading of perf_counter, to `part`."""
        self.cost_ms[part] = round(self.cost_ms.get(part, 0.0) + (perf_counter() - since) * 1000, 3)

"""Which observers a recording has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch.capture.observers import Observer
    from gradwatch.records import Detail


def observers_of(detail: Detail) -> list[Observer]:
    """The observers of a recording, in the order in which they are told of events."""
    if detail == "parameters":
        return []
    return []

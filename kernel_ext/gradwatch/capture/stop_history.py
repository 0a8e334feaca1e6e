"""What earlier stops saw of each `.grad`: the memory between two stops, held by weak reference.

A question says which stop it belongs to (the debugger counts them), so that asking twice, or for other
frames, compares with the same earlier stop.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradwatch.capture.stop_steps import steps_between

if TYPE_CHECKING:
    import torch

    from gradwatch.capture.stop_steps import Counts


@dataclass(slots=True)
class _Seen:
    """A `.grad` at one stop. `since` are the step counts when it was first seen like this."""

    stop: int
    gradient: weakref.ref[torch.Tensor] | None
    version: int
    norm: float
    since: Counts


@dataclass(slots=True)
class _Entry:
    leaf: weakref.ref[torch.Tensor]
    now: _Seen
    before: _Seen | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A `.grad` against the stop before: NaN and False where there is none."""

    changed: bool = False
    previous_norm: float = math.nan
    stale: int = 0


class StopHistory:
    """Numbers the stops of a process and compares gradients between them."""

    def __init__(self) -> None:
        self.stop = 0
        self._token: object = None
        self._entries: dict[int, _Entry] = {}

    def begin(self, token: object) -> int:
        """The number of the stop that a question belongs to: a new one, unless `token` is the last one's."""
        if token is None or token != self._token or not self.stop:
            self.stop += 1
            self._entries = {key: entry for key, entry in self._entries.items() if entry.leaf() is not None}
        self._token = token
        return self.stop

    def note(self, leaf: torch.Tensor, gradient: torch.Tensor | None, norm: float, counts: Counts) -> Change:
        """Keep how `leaf.grad` stands now, and say how it compares. `norm` is NaN where it was not read."""
        known = self._entries.get(id(leaf))
        if known is not None and known.leaf() is not leaf:
            known = None
        version = -1 if gradient is None else _version(gradient)
        ref = None if gradient is None else weakref.ref(gradient)
        now = _Seen(self.stop, ref, version, norm, counts)
        if known is None:
            self._entries[id(leaf)] = _Entry(weakref.ref(leaf), now)
            return Change()
        if known.now.stop != self.stop:
            known.before = known.now
        known.now = now
        return _compare(now, known.before, gradient)


def _compare(now: _Seen, before: _Seen | None, gradient: torch.Tensor | None) -> Change:
    counts = now.since
    if before is None:
        return Change()
    earlier = None if before.gradient is None else before.gradient()
    same = earlier is gradient and before.version == now.version and (before.gradient is None) == (gradient is None)
    if same:
        now.since = before.since
    stale = steps_between(counts, now.since) if gradient is not None else 0
    return Change(not same, before.norm, stale)


def _version(tensor: Any) -> int:
    try:
        return tensor._version
    except Exception:  # noqa: BLE001 # inference tensors have none, and a subclass may raise what it likes
        return -1


history = StopHistory()
"""This process's."""

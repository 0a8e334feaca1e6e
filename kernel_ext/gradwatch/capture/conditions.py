"""Conditions: when to stop inside backward. The debugger's door sets and lists them; they end with the process.

Nothing is set up beforehand. While no condition is enabled, nothing of this is hooked or patched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradwatch.capture.backward_stops import Armed, BackwardStops
from gradwatch.errors import UsageError
from gradwatch.records import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradwatch.capture.backward_stops import Paused
    from gradwatch.records import Notice

_notices: list[Notice] = []
_stops = BackwardStops(_notices.append)


def set_conditions(conditions: Sequence[Condition]) -> list[Condition]:
    """Replace the conditions and return them with their hits, which unchanged ones keep.

    Takes effect at once where this thread stands inside a backward call, else with the next call. Each check on
    a GPU waits for the device, for as long as a condition on values is enabled. Raises UsageError.
    """
    ids = [condition.id for condition in conditions]
    if len(set(ids)) < len(ids):
        raise UsageError(f"Two conditions have the same id: {sorted(ids)}. Give each its own.")
    for condition in conditions:
        _check(condition)
    known = {_question(armed.condition): armed for armed in _stops.armed}
    _notices.clear()
    _stops.set([_armed(condition, known.get(_question(condition))) for condition in conditions])
    return current()


def next_node() -> list[Condition]:
    """Stop once more, at the next node that any thread runs; outside backward, at the first of the next call."""
    kept = [armed for armed in _stops.armed if armed.condition.kind != "next node"]
    number = max((armed.condition.id for armed in kept), default=-1) + 1
    _stops.set([*kept, Armed(Condition(id=number, kind="next node"))])
    return current()


def current() -> list[Condition]:
    return [armed.record() for armed in _stops.armed]


def stopped() -> tuple[int, str] | None:
    """The id of the condition that this thread stands at, and why; None when something else stopped it."""
    paused = _stops.paused_here()
    return None if paused is None else (paused.condition, paused.reason)


def stopped_at() -> Paused | None:
    """The stop that a condition made on this thread: with the node and the gradients it was given."""
    return _stops.paused_here()


def notices() -> list[Notice]:
    """What failed in hooks of conditions since they were set."""
    return list(_notices)


def pause_with(pause: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Call `pause` with the stopped frame's locals, in place of a debugger; returns what was called before."""
    before, _stops.pause = _stops.pause, pause
    return before


def _question(condition: Condition) -> Condition:
    """What is asked, whether it is switched on or not."""
    return replace(condition, enabled=True, hits=0)


def _armed(condition: Condition, known: Armed | None) -> Armed:
    """A condition that stays is the same one to a running call, which it may have stopped already."""
    if known is None:
        return Armed(condition, condition.hits)
    known.condition = condition
    return known


def _check(condition: Condition) -> None:
    wanted = {"parameter": condition.parameter, "module": condition.module, "node": condition.name}
    if condition.kind in wanted and not wanted[condition.kind] and condition.node < 0:
        raise UsageError(f"Condition {condition.id} ({condition.kind}) names nothing. Choose it in the panel again.")
    if condition.kind == "norm exceeds" and not condition.limit > 0:
        raise UsageError(f"A norm cannot be asked to exceed {condition.limit}. Give a limit above 0.")

"""Which conditions a node meets, with the reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.capture import stop_reasons
from gradwatch.capture.conditioned_call import ONCE_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.capture.conditioned_call import Armed, At, ConditionedCall
    from gradwatch.capture.gradient_checks import Check, Checks
    from gradwatch.records import Condition


def hits(call: ConditionedCall, at: At, checks: Checks) -> Iterator[tuple[Armed, str]]:
    asked = (call.before if at.grad_inputs is None else call.after).get(at.position, [])
    checked = [*checks.each(at.grad_outputs)] if at.grad_inputs is None and _need_values(asked) else []
    for armed in asked:
        reason = None if id(armed) in call.spent else _reason(armed.condition, call, at, checks, checked)
        if reason is not None:
            yield armed, reason
    if at.grad_inputs is not None:
        for slot, leaf, armed in call.captured.get(at.position, []):
            if slot < len(at.grad_inputs) and at.grad_inputs[slot] is not None:
                yield armed, stop_reasons.of_arrival(armed.condition, call.graph, leaf)


def _need_values(asked: list[Armed]) -> bool:
    return any(armed.condition.kind in ONCE_PER_CALL for armed in asked)


def _reason(
    condition: Condition, call: ConditionedCall, at: At, checks: Checks, checked: list[tuple[int, Check]]
) -> str | None:
    if condition.kind == "norm exceeds":
        above = ((i, found) for i, found in checked if found.norm > condition.limit or found.inf)
        return next((stop_reasons.of_norm(condition.limit, i, found) for i, found in above), None)
    if condition.kind != "first non-finite":
        return stop_reasons.of_arrival(condition, call.graph, at.position)
    if at.grad_inputs is None:
        bad = ((i, found) for i, found in checked if found.nonfinite)
        return next((stop_reasons.of_given(call.graph, at.position, i, found) for i, found in bad), None)
    return _reason_after(call, at, checks)


def _reason_after(call: ConditionedCall, at: At, checks: Checks) -> str | None:
    """Whether the node gave out what is not finite, and whether it was given that."""
    made = checks.first_nonfinite(at.grad_inputs or ())
    if made is None:
        return None
    given = checks.first_nonfinite(at.grad_outputs)
    if given is not None:
        return stop_reasons.of_passed_on(call.graph, at.position, *given)
    return stop_reasons.of_made(call.graph, at.position, *made)

"""How backward calls become steps, where threads meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gradwatch.capture.steps import OpenStep, Steps

if TYPE_CHECKING:
    from gradwatch.capture.backward import BackwardCall


class EndsOnceLookedAt:
    """A call that another thread ends just after it was asked whether it had."""

    is_outermost = True
    stepped_inside = False
    index = -1

    def __init__(self) -> None:
        self._asked = 0

    @property
    def ended(self) -> bool:
        self._asked += 1
        return self._asked > 1


def test_a_call_that_ends_while_a_step_claims_calls_is_not_lost() -> None:
    ended: list[OpenStep] = []
    steps = Steps(lambda step, _source, _end: ended.append(step), lambda _optimizer, _calls: True)
    call = cast("BackwardCall", EndsOnceLookedAt())
    steps.call_began(call)
    steps.explicit()
    steps.explicit()
    assert [step.calls for step in ended] == [[], [call]]

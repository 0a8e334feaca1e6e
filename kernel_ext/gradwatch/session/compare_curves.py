"""Two sessions as curves over the steps that were compared: loss, gradient norm, difference, held bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.session.compare_tolerance import relative_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradwatch.session.compare_steps import Calls, ComparedRows
    from gradwatch.session.compare_tolerance import Tolerance
    from gradwatch.session.gradients import GradientRows
    from gradwatch.session.session import Session

    Values = list[float | None]
    Norms = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Curves:
    """Both sessions over the compared steps: one entry a pair of steps, None where it is not known.

    `norm` is over the parameters that both have, after the step's last call; `difference` the largest relative
    gap of any statistic of any of them, infinite where one alone has a gradient, or NaN or Inf; `held` the most
    that a backward call held.
    """

    steps: list[tuple[int, int]]
    loss_a: Values
    loss_b: Values
    norm_a: Values
    norm_b: Values
    difference: Values
    held_a: list[int | None]
    held_b: list[int | None]


@dataclass(frozen=True, slots=True)
class LossParting:
    """The first step whose losses part."""

    step_a: int
    step_b: int
    a: float
    b: float
    relative: float


def drawn(
    sessions: tuple[Session, Session], calls: tuple[Calls, Calls], steps: list[tuple[int, int]], norms: list[Norms]
) -> Curves:
    """Draw the curves; `norms` has the two norms and the difference at each of `steps`."""
    losses = [_losses(session, [pair[side] for pair in steps]) for side, session in enumerate(sessions)]
    held = [_held(calls[side], [pair[side] for pair in steps]) for side in (0, 1)]
    columns = [[entry[position] for entry in norms] for position in range(3)]
    return Curves(steps, losses[0], losses[1], columns[0], columns[1], columns[2], held[0], held[1])


def norms_of(found: Sequence[ComparedRows]) -> Norms:
    """Norm over the compared parameters on either side after the last call, and the largest relative gap."""
    if not found:
        return None, None, None
    last_a: dict[int, float] = {}
    last_b: dict[int, float] = {}
    for rows in found:
        last_a |= _norms(rows.a, rows.match.a)
        last_b |= _norms(rows.b, rows.match.b)
    return math.hypot(*last_a.values()), math.hypot(*last_b.values()), max(rows.relative for rows in found)


def loss_parting(curves: Curves, tolerance: Tolerance) -> LossParting | None:
    """Return the first pair of steps whose losses part."""
    for (step_a, step_b), a, b in zip(curves.steps, curves.loss_a, curves.loss_b, strict=True):
        if a is not None and b is not None and tolerance.parts(a, b):
            return LossParting(step_a, step_b, a, b, relative_difference(a, b))
    return None


def _norms(rows: GradientRows, positions: NDArray[np.int64]) -> dict[int, float]:
    """L2 norms by subject; NaN or infinite where an element is."""
    norms = np.where(rows.nan > 0, np.nan, np.where(rows.inf > 0, np.inf, rows.norm))
    return dict(zip(rows.subjects[positions].tolist(), norms[positions].tolist(), strict=True))


def _losses(session: Session, steps: list[int]) -> Values:
    known = {step.number: step.loss for step in session.steps}
    return [known.get(step) for step in steps]


def _held(calls: Calls, steps: list[int]) -> list[int | None]:
    most = [max((calls.held_bytes(step, call) for call in calls.of_step.get(step, [])), default=-1) for step in steps]
    return [size if size >= 0 else None for size in most]

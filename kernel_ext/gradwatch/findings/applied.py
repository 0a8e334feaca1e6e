"""What becomes of a gradient between backward and the optimizer: zeroed, stale, or the step is skipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.reach import Reach
from gradwatch.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Write
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import StepView


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Gradients that the optimizer did not get as backward left them."""
    reach = Reach.of(session)
    yield from _zeroed(reach)
    yield from _stale(reach, thresholds)
    yield from _skipped(session, thresholds)


def _zeroed(reach: Reach) -> Iterator[Finding]:
    """Parameters of an optimizer whose every gradient was gone, or zero, when it stepped."""
    lost = {
        view.id: found for view in reach.trainable if _is_updated(reach, view) and (found := _lost_steps(reach, view))
    }
    views = [view for view in reach.trainable if view.id in lost]
    if not views:
        return
    steps = sorted(set[int]().union(*lost.values()))
    row = reach.seen(views[0].id)[steps[0]]
    who, many = words.names([view.name for view in views]), len(views) > 1
    written = _zeroing(reach, set(lost))
    yield Finding(
        kind="zeroed",
        severity="error",
        title="Gradients zeroed before the optimizer step",
        sentence=f"{who} {'get' if many else 'gets'} a gradient in backward (norm {words.number(row.norm)} at step "
        f"{steps[0]}), and none is left when the optimizer steps: {_by_what(written)}.",
        cause="zeroed before the step",
        fix="Call optimizer.zero_grad() before backward() or after optimizer.step(), never between the two.",
        steps=[steps[0], steps[-1]],
        parameters=[view.id for view in views],
        site=_place(written) if written else -1,
        name=written.name if written else "",
        evidence=[
            f"in {len(steps)} of {words.counted(len(reach.fed_steps), 'step')}",
            *words.by_module(views),
        ],
    )


def _is_updated(reach: Reach, view: ParameterView) -> bool:
    return reach.optimized is None or view.id in reach.optimized


def _lost_steps(reach: Reach, view: ParameterView) -> set[int]:
    """Steps at whose optimizer step a gradient was gone: all that have one. Empty where any of them arrived.

    A GAN's generator gives gradients to the critic's parameters too, which the critic's optimizer never uses: where
    the critic's own loss gives zeros (a WGAN's last bias), these are what arrived, and nothing was lost.
    """
    lost: set[int] = set()
    arrived = reach.applied(view.id)
    for step, row in reach.seen(view.id).items():
        if not reach.was_to_update(view.id, step) or not row.is_finite or row.norm == 0 or row.was_zero:
            continue
        if not _is_nothing(arrived.get(step)):
            return set()
        lost.add(step)
    return lost


def _is_nothing(norm: float | None) -> bool:
    return norm is None or norm == 0


def _zeroing(reach: Reach, parameters: set[int]) -> Write | None:
    """The first line that wrote to these gradients after backward and before the optimizer."""
    writes = [write for trace in reach.trace_records for write in trace.writes if write.phase == "update"]
    found = [write for write in writes if parameters & set(write.parameters) and _clears(write)]
    return found[0] if found else None


def _clears(write: Write) -> bool:
    return any(word in write.op for word in ("zero", "grad", "mul_", "fill_"))


def _by_what(write: Write | None) -> str:
    if write is None:
        return "they are zeroed or set to None in between"
    return "they are set to None in between" if "__set__" in write.op else f"{write.op} clears them in between"


def _place(write: Write) -> int:
    return write.project_site if write.project_site >= 0 else write.site


def _stale(reach: Reach, thresholds: Thresholds) -> Iterator[Finding]:
    """Gradients that no backward call wrote any more while others were: applied again, an alarm, else a note."""
    applied: list[tuple[ParameterView, list[int]]] = []
    left: list[tuple[ParameterView, list[int]]] = []
    for view in reach.trainable:
        missed = _missed(reach, view)
        again = [step for step in missed if _is_used_again(reach, view, step)]
        if len(again) >= thresholds.stale_applied:
            applied.append((view, again))
        elif len(missed) >= thresholds.stale_steps and missed[-1] == reach.fed_steps[-1]:
            left.append((view, missed))
    if applied:
        yield _stale_finding(applied, "applied again")
    if left:
        yield _stale_finding(left, "not reached any more")


def _missed(reach: Reach, view: ParameterView) -> list[int]:
    """Steps since the last one in which a parameter was reached, where others were."""
    seen = reach.seen(view.id)
    last = max(seen, default=None)
    return [] if last is None else [step for step in reach.fed_steps if step > last]


def _is_used_again(reach: Reach, view: ParameterView, step: int) -> bool:
    norm = reach.applied(view.id).get(step)
    return norm is not None and math.isfinite(norm) and norm > 0


def _stale_finding(found: list[tuple[ParameterView, list[int]]], cause: str) -> Finding:
    views, steps = [view for view, _ in found], sorted({step for _, missed in found for step in missed})
    who, many = words.names([view.name for view in views]), len(views) > 1
    is_applied = cause == "applied again"
    times = words.counted(max(len(missed) for _, missed in found), "step")
    was = "were" if many else "was"
    sentence = f"The .grad of {who} {was} last written before step {steps[0]}"
    sentence += f", and the optimizer used it again at {times}." if is_applied else f", {times} ago; others' still are."
    return Finding(
        kind="stale",
        severity="warning" if is_applied else "note",
        title=f"Stale gradient of {words.counted(len(views), 'parameter')}",
        sentence=sentence.replace("used it", "used them") if many else sentence,
        cause=cause,
        fix="Clear all gradients at every step: optimizer.zero_grad(), or model.zero_grad()." if is_applied else "",
        steps=[steps[0], steps[-1]],
        parameters=[view.id for view in views],
        evidence=words.by_module(views),
    )


def _skipped(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Steps that a GradScaler left out: a few are how it finds its scale, many in a row are no training."""
    steps = [step for step in session.steps if step.complete]
    skipped = [step for step in steps if step.skipped]
    if not skipped:
        return
    longest = _longest_run(steps)
    is_alarm = len(longest) >= thresholds.skipped_in_a_row
    shown = longest if is_alarm else skipped
    scales = [step.loss_scale for step in shown if step.loss_scale is not None]
    scale = f"; the scale went from {scales[0]:g} to {scales[-1]:g}" if scales else ""
    in_a_row = " in a row" if is_alarm else ""
    yield Finding(
        kind="skipped",
        severity="warning" if is_alarm else "note",
        title=f"{words.counted(len(shown), 'step')} skipped{in_a_row}",
        sentence=f"GradScaler skipped {words.counted(len(shown), 'step')}{in_a_row}, of {len(steps)} in all: gradients "
        f"were NaN or Inf{scale}.",
        cause="NaN or Inf under the loss scale",
        fix="Find where the NaN or Inf is born: no scale mends a NaN that is there without one." if is_alarm else "",
        steps=[shown[0].number, shown[-1].number],
        evidence=[f"skipped in all: {len(skipped)} of {words.counted(len(steps), 'step')}"],
    )


def _longest_run(steps: list[StepView]) -> list[StepView]:
    longest: list[StepView] = []
    run: list[StepView] = []
    for step in steps:
        run = [*run, step] if step.skipped else []
        longest = run if len(run) > len(longest) else longest
    return longest

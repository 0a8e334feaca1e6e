"""Which steps of a session findings look at, and the gradients of those."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.records import FanIns, Gradients, ModuleOutput, ModuleOutputs, OptimizerStep
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from gradwatch.records import SubjectKind
    from gradwatch.session.session import Session

MOST_STEPS = 48
"""Steps that are read, spread evenly over the session, whose length must not decide how long it takes to open."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Gradients of one kind in one backward call: by subject its norm, without the loss scale, and its elements."""

    step: int
    backward: int
    norms: dict[int, float] = field(default_factory=dict[int, float])
    counts: dict[int, int] = field(default_factory=dict[int, int])


def steps_looked_at(session: Session, most: int = MOST_STEPS) -> list[int]:
    """Numbers of ended steps, spread evenly: neither skipped by a scaler nor cut short."""
    steps = session.steps
    count = min(most, len(steps))
    places = sorted({round(at * (len(steps) - 1) / max(1, count - 1)) for at in range(count)})
    views = [steps[place] for place in places]
    return [view.number for view in views if view.complete and not view.skipped and view.interrupted is None]


def gradients_of(session: Session, step: int, kind: SubjectKind) -> list[LookedAt]:
    """The gradients of a kind in a step, one entry per backward call, divided by the loss scale where there is one."""
    scale = session.step(step).loss_scale or 1.0
    found: dict[int, LookedAt] = {}
    for record in session.reader.records_of_step(Gradients, step):
        if record.subject_kind != kind or record.stop >= 0 or "l2" not in record.columns:
            continue
        call = found.setdefault(record.backward, LookedAt(step, record.backward))
        subjects = as_array(record.subjects, session.path).tolist()
        norms = as_array(record.columns["l2"], session.path, len(subjects)).astype(float)
        counts = {name: as_array(record.columns[name], session.path, len(subjects)) for name in ("count", "nan", "inf")}
        finite = (counts["nan"] == 0) & (counts["inf"] == 0)
        for at, subject in enumerate(subjects):
            call.norms[subject] = float(norms[at]) / scale if finite[at] else float("nan")
            call.counts[subject] = int(counts["count"][at])
    return [found[index] for index in sorted(found)]


def total_norm(session: Session, step: int) -> float:
    """The norm of all parameters' gradients as accumulated over the step, before clipping; NaN where none was seen."""
    last: dict[int, float] = {}
    for call in gradients_of(session, step, "parameter"):
        last.update(call.norms)
    return float(np.sqrt(sum(norm * norm for norm in last.values()))) if last else float("nan")


def used_norm(session: Session, step: int) -> float:
    """The norm of the gradients that the optimizers used, after clipping; NaN where none was seen."""
    squares = [
        float((as_array(record.columns["gradient_norm"], session.path).astype(float) ** 2).sum())
        for record in session.reader.records_of_step(OptimizerStep, step)
        if "gradient_norm" in record.columns
    ]
    return float(np.sqrt(sum(squares))) if squares else float("nan")


def clipping(session: Session, steps: list[int]) -> float | None:
    """How much of the gradient was left, by the middle step, where at least half of the steps were clipped."""
    left = [used_norm(session, step) / total for step in steps if (total := total_norm(session, step)) > 0]
    clipped = [each for each in left if each < CLIPPED]
    return float(np.median(clipped)) if len(clipped) * 2 > len(left) else None


CLIPPED = 0.98
"""Of the gradient was used: less than that is no rounding."""


def passed_through(session: Session, graph: int) -> dict[int, float]:
    """Of each measured activation of a graph, by node: the gradient's norm below it over that above, in the middle."""
    found: dict[int, list[float]] = {}
    for record in session.reader.records(FanIns):
        if record.graph == graph:
            for passage in record.passages:
                if passage.arrived > 0:
                    found.setdefault(passage.node, []).append(passage.passed / passage.arrived)
    return {node: float(np.median(ratios)) for node, ratios in found.items()}


def module_outputs(session: Session) -> list[ModuleOutput]:
    """Every module output, in the order in which the modules returned first."""
    outputs = {entry.id: entry for record in session.reader.records(ModuleOutputs) for entry in record.outputs}
    return [outputs[number] for number in sorted(outputs)]

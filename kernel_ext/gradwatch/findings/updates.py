"""How far an optimizer's steps move the weights: too far, not at all, or nowhere but towards 0."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.findings.looked_at import steps_looked_at
from gradwatch.findings.words import names as listed_names
from gradwatch.findings.words import number, percent
from gradwatch.records import Finding, OptimizerStep
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.session.session import Session

LEAST_STEPS = 8
"""Steps of an optimizer. The first quarter of them is left out: there learning rates warm up and moments fill."""

HALVED = 0.5
"""Weights that decay are told of once they have lost this much."""


@dataclass(frozen=True, slots=True)
class Updates:
    """One optimizer's steps: of each weight (row) at each step (column) its norm, its gradient's, and its change."""

    optimizer_class: str
    steps: list[int]
    weights: list[int]
    parameter_norm: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    update_ratio: NDArray[np.float64]

    def whole(self) -> NDArray[np.float64]:
        """||change|| / ||weights|| of all weights together, by step."""
        changes = self.update_ratio * self.parameter_norm
        return np.sqrt((changes**2).sum(0)) / np.sqrt((self.parameter_norm**2).sum(0))


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """For each optimizer, of its weights (matrices and kernels: biases begin at 0, where a ratio says nothing)."""
    for updates in _updates(session):
        settled = slice(len(updates.steps) // 4, None)
        ratios = updates.whole()[settled]
        middle = float(np.median(ratios))
        steady = middle >= thresholds.update_high and float(np.quantile(ratios, 0.25)) >= thresholds.update_high / 2
        if steady or _overwritten(updates, thresholds):
            yield _too_high(session, updates)
        elif middle <= thresholds.update_low and np.median(updates.gradient_norm[:, settled].max(0)) > 0:
            yield _too_low(session, updates, middle)
        else:
            yield from _decaying(session, updates, thresholds)


def _updates(session: Session) -> Iterator[Updates]:
    found: defaultdict[int, list[OptimizerStep]] = defaultdict(list)
    for step in steps_looked_at(session):
        for record in session.reader.records_of_step(OptimizerStep, step):
            found[record.optimizer].append(record)
    shapes = {view.id: view.shape for view in session.parameters}
    for records in found.values():
        weights = _common(session, records, shapes)
        if len(records) >= LEAST_STEPS and weights:
            columns = {name: _column(session, records, weights, name) for name in _COLUMNS}
            if all(np.isfinite(values).all() for values in columns.values()):
                steps = [record.step for record in records]
                yield Updates(records[-1].optimizer_class, steps, weights, **columns)


_COLUMNS = ("parameter_norm", "gradient_norm", "update_ratio")


def _common(session: Session, records: list[OptimizerStep], shapes: dict[int, tuple[int, ...]]) -> list[int]:
    """The weights that every one of the steps updated."""
    common: set[int] = set(as_array(records[0].subjects, session.path).tolist())
    for record in records[1:]:
        common &= set(as_array(record.subjects, session.path).tolist())
    return sorted(weight for weight in common if len(shapes.get(weight, ())) > 1)


def _column(session: Session, records: list[OptimizerStep], weights: list[int], name: str) -> NDArray[np.float64]:
    found = np.full((len(weights), len(records)), np.nan)
    for at, record in enumerate(records):
        if name in record.columns:
            subjects = as_array(record.subjects, session.path).tolist()
            values = as_array(record.columns[name], session.path, len(subjects)).tolist()
            by_subject = dict(zip(subjects, values, strict=True))
            found[:, at] = [by_subject[weight] for weight in weights]
    return found


def _overwritten(updates: Updates, thresholds: Thresholds) -> bool:
    """Whether the first steps replaced what the weights began with: then they are as large as the steps made them."""
    if updates.steps[LEAST_STEPS - 1] - updates.steps[0] > 2 * LEAST_STEPS:
        return False
    norms = np.sqrt((updates.parameter_norm**2).sum(0))
    begin, later = float(norms[0]), float(norms[: 4 * LEAST_STEPS][-1])
    return later >= 2 * begin > 0 and float(np.median(updates.whole()[:LEAST_STEPS])) >= thresholds.update_high


def _too_high(session: Session, updates: Updates) -> Finding:
    first = slice(0, LEAST_STEPS)
    ratios = np.median(updates.update_ratio[:, first], axis=1)
    middle = float(np.median(updates.whole()[first]))
    order: list[int] = np.argsort(-ratios).tolist()
    names = [session.names.parameter_name(updates.weights[at]) or "" for at in order]
    return Finding(
        kind="update ratio",
        severity="warning",
        title="Updates are too large",
        sentence=(
            f"Each of the first steps of {updates.optimizer_class} changes the weights by {percent(middle)} of their "
            f"norm ({names[0]} the most, by {percent(float(ratios[order[0]]))}); about 0.1 % is usual."
        ),
        cause="too high",
        fix=f"Divide the learning rate of {updates.optimizer_class} by {_power(middle / 1e-3)}",
        parameters=[updates.weights[at] for at in order],
        **_common_fields(updates),
    )


_FIX_OF_NO_UPDATE = {
    "half": "Keep the weights in float32 and compute under torch.autocast, or use a larger learning rate",
    "whole": "Set a learning rate above 0",
}


def _too_low(session: Session, updates: Updates, middle: float) -> Finding:
    names = [session.names.parameter_name(weight) or "" for weight in updates.weights]
    halves = {view.dtype for view in session.parameters if view.id in updates.weights} & {"bfloat16", "float16"}
    held = "" if not halves else f"; {min(halves)} rounds small updates away"
    does = "leaves" if middle == 0 else "changes"
    still = "as they were" if middle == 0 else f"by {number(middle)} of their norm"
    rounded = "" if middle == 0 or halves else ", which rounding takes away"
    return Finding(
        kind="update ratio",
        severity="warning",
        title="Updates are too small",
        sentence=(
            f"Each step of {updates.optimizer_class} {does} {listed_names(names)} {still}{rounded}, although gradients "
            f"arrive{held}."
        ),
        cause="too low",
        fix=(
            _FIX_OF_NO_UPDATE["half" if halves else "whole"]
            if middle == 0
            else f"Multiply the learning rate of {updates.optimizer_class} by {_power(1e-3 / middle)}, or keep the "
            "weights in float32"
        ),
        parameters=list(updates.weights),
        **_common_fields(updates),
    )


def _decaying(session: Session, updates: Updates, thresholds: Thresholds) -> Iterator[Finding]:
    """Weights whose every change is a shrinking: weight decay outweighs the gradient."""
    norms = updates.parameter_norm
    steps_apart = max(1, round((updates.steps[-1] - updates.steps[0]) / (len(updates.steps) - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        shrinking = 1 - (norms[:, 1:] / norms[:, :-1]) ** (1 / steps_apart)
        radial = np.median(shrinking / updates.update_ratio[:, :-1], axis=1)
        kept = norms[:, -1] / norms[:, 0]
    decaying = [at for at in range(len(norms)) if radial[at] >= thresholds.decay and kept[at] <= HALVED]
    if not decaying or len(decaying) * 2 < len(norms):
        return
    names = [session.names.parameter_name(updates.weights[at]) or "" for at in decaying]
    yield Finding(
        kind="update ratio",
        severity="warning",
        title="Weights only shrink",
        sentence=(
            f"{percent(float(np.median(radial[decaying])))} of what {updates.optimizer_class} does to "
            f"{listed_names(names)} is shrinking: {updates.steps[-1] - updates.steps[0]} steps left "
            f"{percent(float(np.median(kept[decaying])))} of the norm."
        ),
        cause="weight decay",
        fix=f"Lower weight_decay of {updates.optimizer_class}",
        parameters=[updates.weights[at] for at in decaying],
        **_common_fields(updates),
    )


def _common_fields(updates: Updates) -> dict[str, Any]:
    whole = updates.whole()
    shown = whole[:: max(1, len(whole) // 8)]
    return {
        "steps": [updates.steps[0], updates.steps[-1]],
        "evidence": [f"||update|| / ||weights|| over the steps: {', '.join(number(each) for each in shown)}"],
    }


def _power(factor: float) -> str:
    """The nearest power of ten, at least 10."""
    return f"{10 ** max(1, round(np.log10(factor))):,}"

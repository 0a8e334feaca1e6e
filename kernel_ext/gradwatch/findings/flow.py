"""Vanishing and exploding: at which depth the gradient's scale changes, and by how much per module or call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import GradwatchError
from gradwatch.findings.chains import Scale, is_one_way, nodes_inside, scales
from gradwatch.findings.looked_at import clipping, gradients_of, passed_through, steps_looked_at, total_norm
from gradwatch.findings.paths import Paths
from gradwatch.findings.words import names as listed_names
from gradwatch.findings.words import number
from gradwatch.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.session.session import Session

LEAST_STEPS = 3
"""Steps in which it must be seen, by the middle one: one step says little, and the first nothing of training."""

STEADY_DECAY = 0.7
"""Beyond this much per module a chain is only long."""

STEADY_GROWTH = 1.5

SQUASHING = {
    "SigmoidBackward0": "sigmoid",
    "TanhBackward0": "tanh",
    "SoftmaxBackward0": "softmax",
}


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """At most one finding each of vanishing and of exploding along modules, and of growth over the steps."""
    steps = steps_looked_at(session)
    if len(steps) < LEAST_STEPS:
        return
    found = [scale for scale in scales(session, steps) if len(scale.steps) >= LEAST_STEPS]
    for worst in (_worst_decay(session, found, thresholds), _worst_growth(session, found, thresholds)):
        if worst is not None:
            yield _vanishing(session, worst) if worst.total < 0 else _exploding(session, worst, steps)
    yield from _growth_over_steps(session, steps, thresholds)


def _worst_decay(session: Session, found: list[Scale], thresholds: Thresholds) -> Scale | None:
    def vanishes(scale: Scale) -> bool:
        limit = thresholds.vanishing_in_time if scale.chain.in_time else thresholds.vanishing
        one_link = not scale.chain.in_time and bool(scale.links.min() <= np.log10(thresholds.vanishing))
        steady = scale.is_steady() and scale.factor <= STEADY_DECAY
        return scale.total <= np.log10(limit) and (steady or one_link)

    return _first_real(session, sorted(filter(vanishes, found), key=lambda scale: scale.total))


def _worst_growth(session: Session, found: list[Scale], thresholds: Thresholds) -> Scale | None:
    def explodes(scale: Scale) -> bool:
        return scale.total >= np.log10(thresholds.exploding) and scale.is_steady() and scale.factor >= STEADY_GROWTH

    return _first_real(session, sorted(filter(explodes, found), key=lambda scale: -scale.total))


def _first_real(session: Session, suspects: list[Scale]) -> Scale | None:
    """The first whose modules feed each other; where the graph was not recorded, that is believed."""
    for scale in suspects:
        paths = _paths(session, scale)
        if paths is None or is_one_way(paths, session, scale.chain):
            return scale
    return None


def _paths(session: Session, scale: Scale) -> Paths | None:
    for step in scale.steps:
        for call in session.step(step).backwards:
            if call.index == scale.backward and call.graph_id >= 0:
                try:
                    return Paths(session, call.graph_id)
                except (LookupError, GradwatchError):
                    return None
    return None


def _vanishing(session: Session, scale: Scale) -> Finding:
    place = _place(session, scale)
    squashing = place["squashing"]
    per, what, first, last = _told(session, scale)
    through = f"{squashing} " if squashing else ""
    return Finding(
        kind="vanishing",
        severity="warning",
        title=f"Gradient vanishes {'over time' if scale.chain.in_time else 'with depth'}",
        sentence=(
            f"The gradient shrinks {number(1 / scale.factor)} times per {through}{per}: at {first} it is "
            f"{number(10**scale.total)} of what it is at {last}, through {what}."
        ),
        cause=f"{squashing} activations" if squashing else "calls" if scale.chain.in_time else "depth",
        fix=_fix_of_vanishing(scale, squashing),
        **_where(scale, place),
    )


def _fix_of_vanishing(scale: Scale, squashing: str) -> str:
    if scale.chain.in_time:
        return "Use a gated cell (nn.LSTMCell with a forget bias of 1, nn.GRUCell), or a shorter unroll"
    if squashing:
        return f"Use ReLU or GELU in place of {squashing}, with kaiming init, or put a norm or a residual around each"
    return "Use kaiming or xavier init for this activation, or put a norm or a residual around each"


def _exploding(session: Session, scale: Scale, steps: list[int]) -> Finding:
    place = _place(session, scale)
    per, what, first, last = _told(session, scale)
    left = clipping(session, steps)
    clipped = f" Clipping leaves {number(left)} of it for the optimizer." if left is not None else ""
    fix = "Clip before the optimizer's step: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    if left is not None:
        fix = "" if scale.chain.in_time else "A smaller init would leave clipping less to do"
    return Finding(
        kind="exploding",
        severity="warning" if left is None else "note",
        title=f"Gradient explodes {'over time' if scale.chain.in_time else 'with depth'}",
        sentence=(
            f"The gradient grows {number(scale.factor)} times per {per}: at {first} it is "
            f"{number(10**scale.total)} times what it is at {last}, through {what}.{clipped}"
        ),
        cause="clipped" if left is not None else "calls" if scale.chain.in_time else "depth",
        fix=fix
        if scale.chain.in_time or left is not None
        else "Use kaiming or xavier init, or put a norm (nn.LayerNorm) between these modules",
        **_where(scale, place),
    )


def _told(session: Session, scale: Scale) -> tuple[str, str, str, str]:
    """Words for one link, for all of the chain, and for both of its ends."""
    outputs = scale.chain.outputs
    names = [session.names.module_name(output.module) for output in (outputs[0], outputs[-1])]
    if scale.chain.in_time:
        return "call", f"{len(outputs)} calls of {names[0]}", "the first call", "the last"
    return "module", f"{len(outputs)} modules", names[0], names[1]


def _where(scale: Scale, place: dict[str, Any]) -> dict[str, Any]:
    evidence = [f"gradient norm over that at the last: {', '.join(number(10**log) for log in _shown(scale))}"]
    return {
        "steps": [scale.steps[0], scale.steps[-1]],
        "backward": scale.backward,
        "graph": place["graph"],
        "nodes": place["nodes"],
        "modules": scale.chain.modules,
        "site": place["site"],
        "evidence": [*evidence, f"median of {len(scale.steps)} steps, before clipping, without the loss scale"],
    }


def _shown(scale: Scale) -> list[float]:
    count = len(scale.logs)
    return [float(scale.logs[at]) for at in sorted({round(i * (count - 1) / 7) for i in range(8)})]


def _place(session: Session, scale: Scale) -> dict[str, Any]:
    """The node at the steepest link: what squashes there, else the upper module's last op."""
    paths = _paths(session, scale)
    nothing: dict[str, Any] = {"graph": -1, "nodes": [], "site": -1, "squashing": ""}
    if paths is None:
        return nothing
    outputs = scale.chain.outputs
    lower, upper = (nodes_inside(paths, session, outputs[at].module) for at in (scale.steepest, scale.steepest + 1))
    if not lower or not upper:
        return nothing
    between = list(range(max(lower) + 1 if not scale.chain.in_time else min(lower), max(upper) + 1))
    squashing = _squashing(session, paths, scale, between) if scale.total < 0 else []
    node = next((each for each in [*squashing, *reversed(upper)] if paths.site(each) >= 0), -1)
    if node < 0:
        return nothing
    return {
        "graph": paths.id,
        "nodes": [node],
        "site": paths.site(node),
        "squashing": SQUASHING[paths.names[node]] if node in squashing else "",
    }


def _squashing(session: Session, paths: Paths, scale: Scale, between: list[int]) -> list[int]:
    """Activations that are measured to take at least half of what the steepest link takes."""
    passed = passed_through(session, paths.id)
    half = float(scale.links[scale.steepest]) / 2
    found = [node for node in between if paths.names[node] in SQUASHING]
    return [node for node in found if np.log10(max(passed.get(node, 1.0), np.finfo(np.float32).tiny)) <= half]


def _growth_over_steps(session: Session, steps: list[int], thresholds: Thresholds) -> Iterator[Finding]:
    """The gradient's norm grows from step to step, and the loss with it."""
    if len(steps) < 4 * LEAST_STEPS:
        return
    norms = np.array([total_norm(session, step) for step in steps])
    losses = [session.step(step).loss for step in steps]
    quarter = len(steps) // 4
    if not np.isfinite(norms).any() or any(loss is None for loss in losses):
        return
    begin, end = np.median(norms[:quarter]), np.median(norms[-quarter:])
    first, last = (float(np.median([loss or 0.0 for loss in part])) for part in (losses[:quarter], losses[-quarter:]))
    if not begin > 0 or not end / begin >= thresholds.exploding_in_steps or not last > 2 * abs(first):
        return
    grown = [session.names.parameter_name(each) or "" for each in _largest(session, steps[-1])]
    yield Finding(
        kind="exploding",
        severity="warning",
        title="Gradient explodes over the steps",
        sentence=(
            f"The gradient norm grows from {number(begin)} to {number(end)} and the loss from {number(first)} to "
            f"{number(last)} over {steps[-1] - steps[0] + 1} steps, most of it in {listed_names(grown)}."
        ),
        cause="steps",
        fix="Lower the learning rate, or clip: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        steps=[steps[0], steps[-1]],
        parameters=_largest(session, steps[-1]),
        evidence=[f"gradient norms: {', '.join(number(each) for each in norms[:: max(1, len(norms) // 8)])}"],
    )


def _largest(session: Session, step: int) -> list[int]:
    norms: dict[int, float] = {}
    for call in gradients_of(session, step, "parameter"):
        norms.update(call.norms)
    return sorted(norms, key=lambda parameter: -norms[parameter])[:3]

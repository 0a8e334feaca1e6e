"""Where gradients meet: a branch or a loss that another drowns, and losses that pull against each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.errors import GradwatchError
from gradwatch.findings.looked_at import steps_looked_at
from gradwatch.findings.losses import Losses
from gradwatch.findings.paths import LEAF, Paths
from gradwatch.findings.words import names as listed_names
from gradwatch.findings.words import number, percent
from gradwatch.records import EARLIER_CALLS, FanIns, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import FanIn
    from gradwatch.session.session import Session

LEAST_MEASURED = 4
"""Measured calls: of steps 0, 1, 2 and 4, so that the first steps alone do not decide."""

AGAINST = -0.2
"""No measured cosine is above it where losses are said to conflict."""

CANCELLING = -0.95
"""Below it, with norms within a factor of two from the first step on, two losses cancel each other."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One fan-in over the steps: products of each of its gradients with each, one matrix a measured call."""

    node: int
    sources: tuple[int, ...]
    steps: list[int]
    products: list[NDArray[np.float64]]

    def grouped(self, groups: list[list[int]]) -> Measured:
        """The same with the gradients of each group added up; a source of none is left out."""
        adding = np.zeros((len(groups), len(self.sources)))
        for row, group in enumerate(groups):
            adding[row, group] = 1
        products = [adding @ each @ np.transpose(adding) for each in self.products]
        return Measured(self.node, tuple(self.sources[group[0]] for group in groups), self.steps, products)

    @property
    def norms(self) -> NDArray[np.float64]:
        """A row per call, a column per source."""
        return np.sqrt(np.maximum([np.diagonal(each) for each in self.products], 0))

    def cosines(self, one: int, other: int) -> NDArray[np.float64]:
        norms = self.norms[:, one] * self.norms[:, other]
        along = np.array([each[one, other] for each in self.products])
        return np.divide(along, norms, out=np.zeros_like(along), where=norms > 0)


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Of each graph whose fan-ins were measured."""
    for graph, found in _measured(session).items():
        try:
            paths = Paths(session, graph)
        except (LookupError, GradwatchError):
            continue
        long = [each for each in found if len(each.steps) >= LEAST_MEASURED]
        yield from _of_losses(session, paths, long, thresholds)
        yield from _of_residuals(session, paths, long, thresholds)
        yield from _of_tied(session, paths, [each for each in long if EARLIER_CALLS not in each.sources], thresholds)
        yield from _of_micro_batches(paths, [each for each in long if EARLIER_CALLS in each.sources], thresholds)


def _measured(session: Session) -> dict[int, list[Measured]]:
    known = set(steps_looked_at(session, 1 << 30))
    found: defaultdict[int, dict[tuple[int, int, bool], list[tuple[int, FanIn]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in session.reader.records(FanIns):
        if record.step in known:
            for fan_in in record.fan_ins:
                where = fan_in.node, fan_in.input_nr, EARLIER_CALLS in fan_in.sources
                found[record.graph][where].append((record.step, fan_in))
    return {graph: [_joined(seen) for seen in by_node.values()] for graph, by_node in found.items()}


def _joined(seen: list[tuple[int, FanIn]]) -> Measured:
    sources = tuple(seen[0][1].sources)
    same = [(step, fan_in) for step, fan_in in seen if tuple(fan_in.sources) == sources]
    return Measured(seen[0][1].node, sources, [step for step, _ in same], [_products(fan_in) for _, fan_in in same])


def _products(fan_in: FanIn) -> NDArray[np.float64]:
    norms = np.array(fan_in.norms, float)
    cosines = np.eye(len(norms))
    above = np.triu_indices(len(norms), 1)
    cosines[above] = fan_in.cosines
    return (cosines + np.transpose(np.triu(cosines, 1))) * np.outer(norms, norms)


# Losses


def _of_losses(session: Session, paths: Paths, found: list[Measured], thresholds: Thresholds) -> Iterator[Finding]:
    """Terms of the loss, where their gradients meet first. What not every such fan-in shows is not told."""
    losses = Losses(session, paths)
    if not losses.terms:
        return
    pairs: defaultdict[tuple[int, int], list[Measured]] = defaultdict(list)
    for each in found:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for at, source in enumerate(each.sources):
            groups[losses.behind(source)].append(at)
        terms = [term for term in groups if term >= 0]
        if len(terms) == 2 and -1 not in groups:  # one against one
            first, second = sorted(terms)
            pairs[first, second].append(each.grouped([groups[first], groups[second]]))
    for (first, second), meetings in pairs.items():
        yield from _drowned_loss((paths, losses), (first, second), meetings, thresholds)
        yield from _conflict((paths, losses), (first, second), meetings, thresholds)


def _drowned_loss(
    graph: tuple[Paths, Losses],
    pair: tuple[int, int],
    meetings: list[Measured],
    thresholds: Thresholds,
) -> Iterator[Finding]:
    paths, losses = graph
    for small, large in ((0, 1), (1, 0)):
        ratios = [_ratios(each, small, large) for each in meetings]
        if not all(len(each) and each.max() <= thresholds.drowned for each in ratios):
            continue
        quiet, loud = losses.terms[pair[small]], losses.terms[pair[large]]
        names = [losses.name(pair[at]) for at in (small, large)]
        middle = float(np.median(np.concatenate(ratios)))
        scaled_down = quiet.scaling >= 0 and loud.scaling < 0
        line = loud.scaling if loud.scaling >= 0 else quiet.scaling if quiet.scaling >= 0 else loud.sum
        yield Finding(
            kind="drowned",
            severity="note" if scaled_down else "warning",
            title=f"{names[0]} is drowned by {names[1]}",
            sentence=(
                f"Where their gradients meet, {names[0]} brings {percent(middle)} of the gradient that {names[1]} "
                "brings: it trains nothing there."
            ),
            cause="loss",
            fix=f"Weigh {names[1]} down, to about {middle:.0e} of what it is, or {names[0]} up",
            name=names[0],
            site=paths.site(line),
            other_site=paths.site(quiet.node),
            **_where(paths, meetings),
        )


def _conflict(
    graph: tuple[Paths, Losses],
    pair: tuple[int, int],
    meetings: list[Measured],
    thresholds: Thresholds,
) -> Iterator[Finding]:
    paths, losses = graph
    cosines = np.concatenate([each.cosines(0, 1) for each in meetings])
    if not (np.median(cosines) <= thresholds.conflict and cosines.max() <= AGAINST):
        return
    ratios = np.concatenate([_ratios(each, 0, 1) for each in meetings])
    cancel = (
        cosines.max() <= CANCELLING and len(ratios) > 0 and ratios.min() >= 0.5 and ratios.max() <= 2.0
    )  # as CANCELLING says
    names = [losses.name(each) for each in pair]
    total = losses.terms[pair[1]].sum
    undo = "and cancel each other out" if cancel else "so that each undoes a part of the other"
    yield Finding(
        kind="conflict",
        severity="warning" if cancel and min(meetings[0].steps) <= 1 else "note",
        title=f"{names[0]} and {names[1]} conflict",
        sentence=(
            f"The gradients of {names[0]} and {names[1]} point against each other (cosine "
            f"{number(float(np.median(cosines)))}), {undo}."
        ),
        cause="cancel" if cancel else "loss",
        fix=f"Look for a wrong sign in {names[0]} or {names[1]}, or give them parameters of their own"
        if cancel
        else "Give them heads of their own, or project the conflict away (PCGrad)",
        name=names[0],
        site=paths.site(total),
        other_site=paths.site(losses.terms[pair[1]].node),
        **_where(paths, meetings),
    )


# Residuals


@dataclass(frozen=True, slots=True)
class Residual:
    """A fan-in of an addition's gradient that skips a block with the one that went through it."""

    measured: Measured
    addition: int
    block: str
    modules: tuple[int, ...]
    learned_scale: bool


def _of_residuals(session: Session, paths: Paths, found: list[Measured], thresholds: Thresholds) -> Iterator[Finding]:
    groups: defaultdict[tuple[int, bool], list[Residual]] = defaultdict(list)
    for each in found:
        residual = _residual(session, paths, each)
        if residual is not None:
            ratios = _ratios(residual.measured, 1, 0), _ratios(residual.measured, 0, 1)
            for is_skip, against in enumerate(ratios):
                if len(against) >= LEAST_MEASURED and against.max() <= thresholds.drowned:
                    groups[paths.site(residual.addition), bool(is_skip)].append(residual)
    for (site, is_skip), residuals in groups.items():
        yield _drowned_branch(paths, site, residuals, is_skip=is_skip)


def _residual(session: Session, paths: Paths, each: Measured) -> Residual | None:
    """Skip first, block second; None where this is no residual."""
    for skip in range(len(each.sources)):
        addition = _addition_of(paths, each, skip)
        if addition < 0:
            continue
        through = set(paths.below([node for node in paths.down(addition) if node != each.node]))
        through |= set(paths.down(addition))
        others = [at for at in range(len(each.sources)) if at != skip]
        if not others or not all(each.sources[at] in through for at in others):
            continue
        inside = [node for node in (each.sources[at] for at in others) if paths.modules[node] >= 0]
        names = [session.names.module_name(paths.modules[node]) for node in inside]
        block = names[0] if names else "the block"
        modules = tuple(dict.fromkeys(paths.modules[node] for node in inside))
        measured = each.grouped([[skip], others])
        return Residual(measured, addition, block, modules, _scales_by_parameter(paths, addition, each.node))
    return None


def _addition_of(paths: Paths, each: Measured, skip: int) -> int:
    """The addition that a source is, or leads to over a product with a number; -1 where it is none."""
    node = each.sources[skip]
    for _ in range(3):
        if paths.names[node] == "AddBackward0" and len(paths.down(node)) == 2:  # of two tensors
            return node
        above = paths.up(node)
        if paths.names[node] not in ("MulBackward0", "DivBackward0") or len(above) != 1 or len(paths.down(node)) != 1:
            return -1
        node = above[0]
    return -1


def _scales_by_parameter(paths: Paths, addition: int, target: int) -> bool:
    """Whether a learned factor (LayerScale, ReZero) stands right before the addition: then it is small by design."""
    for branch in paths.down(addition):
        if branch != target:
            near = [branch, *paths.down(branch)]
            if any(paths.names[node] == "MulBackward0" and paths.leaves_of(node) for node in near):
                return True
    return False


def _drowned_branch(paths: Paths, site: int, residuals: list[Residual], *, is_skip: bool) -> Finding:
    ratios = np.concatenate([_ratios(each.measured, *((0, 1) if is_skip else (1, 0))) for each in residuals])
    blocks = list(dict.fromkeys(each.block for each in residuals))
    quiet, loud = ("The skip around", "the block") if is_skip else ("The branch through", "the skip")
    by_design = all(each.learned_scale for each in residuals)
    return Finding(
        kind="drowned",
        severity="note" if by_design else "warning",
        title="Residual branch drowned",
        sentence=(
            f"{quiet} {listed_names(blocks)} brings {percent(float(np.median(ratios)))} of the gradient that {loud} "
            f"brings, in every one of {len(residuals[0].measured.steps)} measured steps."
        ),
        cause="learned scale" if by_design else "skip" if is_skip else "residual",
        fix="" if by_design else "Scale both sides of the addition alike, or normalise what goes into the block",
        site=site,
        modules=list(dict.fromkeys(module for each in residuals for module in each.modules)),
        **_where(paths, [each.measured for each in residuals]),
    )


# Tied parameters


def _of_tied(session: Session, paths: Paths, found: list[Measured], thresholds: Thresholds) -> Iterator[Finding]:
    """Notes alone: that one use of a shared weight teaches it nothing may be meant."""
    for each in found:
        if paths.names[each.node] != LEAF or paths.parameters[each.node] < 0:
            continue
        middle = np.median(each.norms, axis=0)
        order = np.argsort(middle)
        small, large = int(order[0]), int(order[-1])
        ratios = _ratios(each, small, large)
        if not len(ratios) or ratios.max() > thresholds.drowned:
            continue
        name = session.names.parameter_name(paths.parameters[each.node]) or ""
        uses = [session.names.module_name(paths.modules[each.sources[at]]) or "an op" for at in (small, large)]
        yield Finding(
            kind="drowned",
            severity="note",
            title=f"One use of {name} is drowned",
            sentence=(
                f"{name} is used in {len(each.sources)} places: the gradient that reaches it through {uses[0]} is "
                f"{percent(float(np.median(ratios)))} of the one through {uses[1]}."
            ),
            cause="tied",
            fix="Scale up the output of the weaker use, or untie the two",
            parameters=[paths.parameters[each.node]],
            modules=[paths.modules[each.sources[at]] for at in (small, large) if paths.modules[each.sources[at]] >= 0],
            site=paths.site(each.sources[small]),
            other_site=paths.site(each.sources[large]),
            **_where(paths, [each]),
        )


# Micro-batches


def _of_micro_batches(paths: Paths, found: list[Measured], thresholds: Thresholds) -> Iterator[Finding]:
    """Of all measured leaves together: what a call brings, against the sum of the calls before it in its step."""
    of_parameters = [each for each in found if paths.parameters[each.node] >= 0]
    count = max((len(each.products) for each in of_parameters), default=0)
    if count < LEAST_MEASURED:
        return
    known = [each for each in of_parameters if len(each.products) == count]
    products = [np.sum([each.products[at] for each in known], axis=0) for at in range(count)]
    together = Measured(known[0].node, known[0].sources, known[0].steps, products)
    where: dict[str, Any] = {
        **_where(paths, [together]),
        "nodes": [each.node for each in known],
        "parameters": [paths.parameters[each.node] for each in known],
        "site": paths.site(len(paths.names) - 1),  # what made the loss
        "cause": "micro-batch",
    }
    ratios, cosines = _ratios(together, 1, 0), together.cosines(0, 1)
    if len(ratios) == count and ratios.max() <= thresholds.drowned:
        yield Finding(
            kind="drowned",
            severity="warning",
            title="A backward call is drowned",
            sentence=(
                f"A later backward call of a step adds {percent(float(np.median(ratios)))} of the gradient that the "
                "calls before it brought: its samples teach nothing."
            ),
            fix="Weigh every call alike: divide each loss by the same number, once",
            **where,
        )
    elif np.median(cosines) <= thresholds.conflict and cosines.max() <= AGAINST:
        yield Finding(
            kind="conflict",
            severity="note",
            title="Backward calls conflict",
            sentence=(
                "What a later backward call of a step adds to the gradients points against what the calls before it "
                f"added (cosine {number(float(np.median(cosines)))})."
            ),
            fix="Shuffle, so that each micro-batch is like the whole, and look for a wrong sign in one of the losses",
            **where,
        )


# Shared


def _ratios(each: Measured, small: int, large: int) -> NDArray[np.float64]:
    """Norm of one over that of another, by call; of calls in which both brought something."""
    norms = each.norms
    both = (norms[:, small] > 0) & (norms[:, large] > 0)
    return norms[both, small] / norms[both, large]


def _where(paths: Paths, meetings: Iterable[Measured]) -> dict[str, Any]:
    meetings = list(meetings)
    first = meetings[0]
    steps = sorted({step for each in meetings for step in each.steps})
    shown = [", ".join(number(float(norm)) for norm in row) for row in first.norms[:4]]
    return {
        "steps": [steps[0], steps[-1]],
        "graph": paths.id,
        "nodes": [each.node for each in meetings],
        "evidence": [f"step {step}: norms {norms}" for step, norms in zip(first.steps, shown, strict=False)],
    }

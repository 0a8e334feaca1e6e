"""What optimizers update against what the model has: frozen, in no optimizer, or replaced by another object."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.reach import Reach
from gradwatch.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Severity
    from gradwatch.session.names import ModuleView, ParameterView
    from gradwatch.session.session import Session
    from gradwatch.session.traces import Members


def find(session: Session, _: Thresholds) -> Iterator[Finding]:
    """Parameters that get gradients and are in no optimizer, and those that an optimizer has and cannot train."""
    reach = Reach.of(session)
    yield from _frozen(reach)
    if reach.optimized is not None and reach.fed_steps:
        replaced = _replaced(reach)
        yield from replaced
        told = {number for finding in replaced for number in finding.parameters}
        yield from _not_optimized(reach, told)


def _replaced(reach: Reach) -> list[Finding]:
    """An optimizer's tensor that no module has, and one of the same shape that none updates."""
    found: list[Finding] = []
    for members in reach.optimizers:
        likes = sorted({each.like for each in members.foreign} & reach.by_id.keys())
        views = [reach.by_id[number] for number in likes if number in reach.reached or _wants(reach, number)]
        if views:
            found.append(_replacement(reach, members, views, "measured"))
        elif members.foreign:
            left = _left_out(reach, set())
            inside = {reach.by_id[number].root for number in members.parameters if number in reach.by_id}
            left = [view for view in left if view.root in inside or not inside]
            if left:
                found.append(_replacement(reach, members, left, "inferred"))
    return found


def _wants(reach: Reach, number: int) -> bool:
    return reach.by_id[number].requires_grad and number not in (reach.optimized or ())


def _replacement(reach: Reach, members: Members, views: list[ParameterView], certainty: str) -> Finding:
    who, many = words.names([view.name for view in views]), len(views) > 1
    old = words.counted(len(members.foreign), "tensor")
    is_are = "are" if many else "is"
    same = " of the same shapes" if certainty == "measured" else ""
    return Finding(
        kind="replaced",
        severity="error" if certainty == "measured" else "warning",
        title=f"{members.optimizer_class} updates other objects",
        sentence=f"{who} {is_are} never updated: {members.optimizer_class} holds {old}{same} "
        "that the model no longer has.",
        cause="optimizer holds another object",
        fix="Make the optimizer after the last change to the model (new layers, .to() of a copy, loading), or give it "
        "the new parameters with optimizer.add_param_group().",
        steps=_steps(reach),
        parameters=[view.id for view in views],
        evidence=[
            *words.by_module(views),
            *(_shape(each.shape, each.dtype) for each in members.foreign[: words.LISTED]),
        ],
        certainty="measured" if certainty == "measured" else "inferred",
    )


def _shape(shape: list[int], dtype: str) -> str:
    return f"the optimizer has a {dtype} tensor {'x'.join(map(str, shape)) or 'scalar'} that is in no module"


def _left_out(reach: Reach, told: set[int]) -> list[ParameterView]:
    """Parameters that get a gradient, and that no optimizer ever had."""
    optimized = reach.optimized or frozenset()
    return [
        view
        for view in reach.trainable
        if view.id in reach.reached and view.id not in optimized and view.id not in told and not reach.applied(view.id)
    ]


def _not_optimized(reach: Reach, told: set[int]) -> Iterator[Finding]:
    """One finding for modules that are no attribute of the model, one for all others by how wrong they are."""
    optimized = reach.optimized or frozenset()
    trained_roots = {reach.by_id[number].root for number in optimized & reach.by_id.keys()}
    groups: defaultdict[tuple[Severity, str], list[ParameterView]] = defaultdict(list)
    for view in _left_out(reach, told):
        severity: Severity = "warning" if view.root in trained_roots else "note"
        groups[severity, "in no optimizer"].append(view)
    if lost_modules(reach.session):
        stray = [view for view in reach.session.parameters if view.is_leaf_tensor and view.tensor_type == "Parameter"]
        lost = [view for view in stray if view.id in reach.reached - optimized and not reach.applied(view.id)]
        groups["warning", "not registered"] += lost
    for (severity, cause), views in groups.items():
        if not views:
            continue
        yield _not_optimized_finding(reach, severity, cause, views)


def lost_modules(session: Session) -> list[ModuleView]:
    """Modules that were called inside another one, which has them as no attribute."""
    return [module for module in session.modules if "<" in module.path]


def _not_optimized_finding(reach: Reach, severity: Severity, cause: str, views: list[ParameterView]) -> Finding:
    who, many = words.names([view.name for view in views]), len(views) > 1
    get, are = ("get gradients", "are") if many else ("gets a gradient", "is")
    why = f"{who} {get} in backward and {are} in no optimizer"
    fix = (
        "Give the optimizer these parameters too, or freeze them with requires_grad_(False), which also spares their "
        "gradients."
    )
    if cause == "not registered":
        whose = words.names(list(dict.fromkeys(module.name for module in lost_modules(reach.session))))
        lost = f"{words.counted(len(views), 'parameter')} of modules that are no attribute of the model ({whose})"
        why = f"{lost} {get} and {are} in no optimizer: a plain list or dict hides them from parameters()"
        fix = "Keep modules in torch.nn.ModuleList or torch.nn.ModuleDict instead of a list or dict."
    return Finding(
        kind="not optimized",
        severity=severity,
        title=f"{words.counted(len(views), 'parameter')} in no optimizer",
        sentence=f"{why}.",
        cause=cause,
        fix=fix,
        steps=_steps(reach),
        parameters=[view.id for view in views],
        modules=[each.id for each in lost_modules(reach.session)] if cause == "not registered" else [],
        evidence=[*words.by_module(views), *map(_of_members, reach.optimizers)],
    )


def _of_members(members: Members) -> str:
    return f"{members.optimizer_class} updates {words.counted(len(members.parameters), 'parameter')}"


def _frozen(reach: Reach) -> Iterator[Finding]:
    """Frozen parameters are a choice; an optimizer that has nothing else is a mistake."""
    frozen = [view for view in reach.session.parameters if not view.requires_grad and not view.is_leaf_tensor]
    ids = {view.id for view in frozen}
    told: set[int] = set()
    for members in reach.optimizers:
        if members.parameters and members.parameters <= ids and not members.foreign:
            views = [view for view in frozen if view.id in members.parameters]
            told |= members.parameters
            yield _frozen_finding(reach, views, members)
    rest = [view for view in frozen if view.id not in told]
    if rest:
        yield _frozen_finding(reach, rest, None)


def _frozen_finding(reach: Reach, views: list[ParameterView], members: Members | None) -> Finding:
    who, many = words.names([view.name for view in views]), len(views) > 1
    are, have = ("are", "have") if many else ("is", "has")
    sentence = f"{who} {are} frozen: requires_grad is False."
    fix = ""
    if members is not None:
        sentence = f"{members.optimizer_class} trains nothing: {who}, all that it has, {have} requires_grad False."
        fix = "Call requires_grad_(True) on what this optimizer is to train, after the line that froze its parent."
    inside = sum(view.id in (reach.optimized or ()) for view in views)
    evidence = [f"{inside} of {len(views)} in an optimizer"] if members is None and inside else []
    return Finding(
        kind="frozen",
        severity="warning" if members is not None else "note",
        title=f"{words.counted(len(views), 'frozen parameter')}",
        sentence=sentence,
        cause="an optimizer has nothing else" if members is not None else "requires_grad is False",
        fix=fix,
        steps=_steps(reach),
        parameters=[view.id for view in views],
        evidence=[*words.by_module(views), *evidence],
    )


def _steps(reach: Reach) -> list[int]:
    return [reach.steps[0], reach.steps[-1]] if reach.steps else []

"""Why a gradient is None, zero or stale, asked of one parameter or of all of a module; also when it is fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.findings import words
from gradwatch.findings.all import find as find_all
from gradwatch.findings.reach import Reach
from gradwatch.records import Finding
from gradwatch.session.lookup import unknown_name

if TYPE_CHECKING:
    from gradwatch.findings.reach import Row
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session

GRADIENT_KINDS = frozenset(
    {"unreached", "frozen", "not optimized", "replaced", "zeroed", "stale", "zero gradient", "skipped", "nan", "inf"}
)
"""Findings that say why a gradient is what it is."""


def why(session: Session, name: str, step: int | None = None) -> list[Finding]:
    """Say what there is to say of the gradient of a parameter, or of those of a module: at least one finding.

    With `step` only what was found at that step, and the gradient as it was there. Raises UsageError, with near
    matches, for a name that is not there, and for a step that is not.
    """
    views = _named(session, name)
    if step is not None:
        session.step(step)
    ids = {view.id for view in views}
    found = [each for each in find_all(session).findings if _is_about(each, ids) and _covers(each, step)]
    explained = {number for each in found if each.kind in GRADIENT_KINDS for number in each.parameters}
    rest = [view for view in views if view.id not in explained]
    return [*found, *([_plain(Reach.of(session), rest, step)] if rest else [])]


def everything(session: Session, step: int | None = None) -> list[Finding]:
    """Every finding of the session, or those that a step was part of. Raises UsageError for one that is not there."""
    if step is not None:
        session.step(step)
    return [each for each in find_all(session).findings if _covers(each, step)]


def known_names(session: Session) -> list[str]:
    """What `why` can be asked of: parameters, and modules that have any."""
    parameters = session.parameters.names
    modules = [name for name in session.modules.names if any(_is_inside(each, name) for each in parameters)]
    return [*parameters, *modules]


def _named(session: Session, name: str) -> list[ParameterView]:
    parameters = session.parameters
    if name in parameters:
        return [parameters[name]]
    inside = [view for view in parameters if _is_inside(view.name, name)]
    if name in session.modules:
        module = session.modules[name]
        if not module.path:
            inside = [view for view in parameters if view.root == module.root and not view.is_leaf_tensor]
        if not inside:
            raise UsageError(f"Module {name!r} has no parameters of its own or inside it.")
    if not inside:
        raise unknown_name("parameter or module", name, [*parameters.names, *session.modules.names])
    return inside


def _is_inside(parameter: str, module: str) -> bool:
    return parameter.startswith(f"{module}.")


def _is_about(finding: Finding, parameters: set[int]) -> bool:
    return bool(parameters & set(finding.parameters)) or finding.kind == "skipped"


def _covers(finding: Finding, step: int | None) -> bool:
    return step is None or not finding.steps or finding.steps[0] <= step <= finding.steps[-1]


def _plain(reach: Reach, views: list[ParameterView], step: int | None) -> Finding:
    """What the readings say where nothing was found."""
    steps = reach.steps
    return Finding(
        kind="reached",
        severity="note",
        title=_title(reach, views, step),
        sentence=_sentence(reach, views, step),
        cause="",
        steps=[step, step] if step is not None else [steps[0], steps[-1]] if steps else [],
        parameters=[view.id for view in views],
        evidence=[_reading(reach, view, step) for view in views[: words.LISTED]] if len(views) > 1 else [],
    )


def _title(reach: Reach, views: list[ParameterView], step: int | None) -> str:
    rows = [row for view in views for row in _rows(reach, view, step).values()]
    if not rows:
        return "no gradient"
    return "its gradient is finite" if all(row.is_finite for row in rows) else "its gradient is not finite"


def _sentence(reach: Reach, views: list[ParameterView], step: int | None) -> str:
    if len(views) == 1:
        return f"{views[0].name}: {_reading(reach, views[0], step).partition(': ')[2]}."
    have = [view for view in views if _rows(reach, view, step)]
    rows = [row for view in have for row in _rows(reach, view, step).values()]
    where = f"at step {step}" if step is not None else f"in {words.counted(len(reach.fed_steps), 'step')}"
    bad = sum(not row.is_finite for row in rows)
    finite = "all of them finite" if not bad else f"{bad} of them not finite"
    missing = f"; {len(views) - len(have)} have none" if len(have) < len(views) else ""
    return f"{len(have)} of {words.counted(len(views), 'parameter')} got gradients {where}, {finite}{missing}."


def _reading(reach: Reach, view: ParameterView, step: int | None) -> str:
    rows = _rows(reach, view, step)
    if not rows:
        return f"{view.name}: {_without(reach, view, step)}"
    last = rows[max(rows)]
    bad = sum(not row.is_finite for row in rows.values())
    finite = "its gradient is finite" if not bad else f"its gradient is not finite in {words.counted(bad, 'step')}"
    norm = f"norm {words.number(last.norm)}"
    if step is not None:
        return f"{view.name}: {finite}, {norm}"
    fed = len(reach.fed_steps)
    at = f"reached at every one of {words.counted(fed, 'step')}" if len(rows) == fed else f"reached at {len(rows)} of "
    at += "" if len(rows) == fed else words.counted(fed, "step")
    return f"{view.name}: {finite}, {norm} at step {max(rows)}, {at}"


def _rows(reach: Reach, view: ParameterView, step: int | None) -> dict[int, Row]:
    seen = reach.seen(view.id)
    return seen if step is None else {number: row for number, row in seen.items() if number == step}


def _without(reach: Reach, view: ParameterView, step: int | None) -> str:
    if not view.requires_grad:
        return "it is frozen, requires_grad is False"
    others = reach.seen(view.id)
    if step is not None and others:
        return (
            f"no backward call reached it at step {step}; it was reached at {words.counted(len(others), 'other step')}"
        )
    if not reach.fed_steps:
        return "no step of this session brought any parameter a gradient"
    if reach.takes_gradients:
        return "its .grad was not written; the program takes gradients from autograd.grad()"
    return "its gradient was not read (see what could not be seen: gradwatch show)"

"""What a comparison must say besides its findings: what it left out, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradwatch.records import SubjectKind
    from gradwatch.session.compare_graphs import GraphDifference
    from gradwatch.session.compare_result import GradientParting
    from gradwatch.session.compare_steps import Calls
    from gradwatch.session.session import Session
    from gradwatch.session.steps import StepView

    Sessions = tuple[Session, Session]


_NAMED = 4

RANKS_NOTE = (
    "Different ranks see different data: only gradients of parameters were compared, "
    "not losses, module outputs or nodes."
)


def sharded(names: list[str]) -> list[str]:
    """Say which parameters each rank has another part of."""
    if not names:
        return []
    count = f"{len(names)} parameters are" if len(names) > 1 else "1 parameter is"
    listed = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return [f"{count} sharded ({listed}): each rank has a part of its own, so their gradients were not compared."]


def why_not_compared(sessions: Sessions, compared: Mapping[SubjectKind, int]) -> list[str]:
    """Say why gradients of module outputs, or of nodes, were not compared."""
    what: dict[SubjectKind, str] = {"module": "module outputs", "node": "nodes"}
    return [
        f"No gradients of {name} were compared: {_why_none(sessions, kind)}."
        for kind, name in what.items()
        if not compared[kind]
    ]


def unlike_calls(steps: list[tuple[int, int]], calls: tuple[Calls, Calls]) -> list[str]:
    """Name the first step that has more backward calls on one side; those that both have are compared."""
    for first, second in steps:
        counts = (len(calls[0].of_step.get(first, [])), len(calls[1].of_step.get(second, [])))
        if counts[0] != counts[1]:
            step = f"Step {first}" if first == second else f"Step {first} against {second}"
            return [f"{step}: {counts[0]} backward calls in the first, {counts[1]} in the second."]
    return []


def unlike_scaling(sessions: Sessions, steps: list[tuple[int, int]]) -> list[str]:
    """Name the first step that one side alone skipped, and the first with another loss scale, and count the rest."""
    known = [{step.number: step for step in session.steps} for session in sessions]
    pairs = [(known[0][a], known[1][b]) for a, b in steps if a in known[0] and b in known[1]]
    skipped = [(a, b) for a, b in pairs if a.skipped != b.skipped]
    scales = [(a, b) for a, b in pairs if a.loss_scale != b.loss_scale]
    notes: list[str] = []
    if skipped:
        a, b = skipped[0]
        side = "first" if a.skipped else "second"
        notes.append(f"{_step_of(a, b)} was skipped in the {side} alone, by its GradScaler{_more(skipped)}.")
    if scales:
        a, b = scales[0]
        notes.append(
            f"{_step_of(a, b)}: the loss scale is {_scale(a)} in the first, {_scale(b)} in the second{_more(scales)}."
        )
    return notes


def _step_of(a: StepView, b: StepView) -> str:
    return f"Step {a.number}" if a.number == b.number else f"Step {a.number} against {b.number}"


def _scale(step: StepView) -> str:
    return "none" if step.loss_scale is None else f"{step.loss_scale:g}"


def _more(pairs: list[tuple[StepView, StepView]]) -> str:
    """Count the steps after the first."""
    if len(pairs) == 1:
        return ""
    return f"; {len(pairs) - 1} more steps differ so" if len(pairs) > 2 else "; 1 more step differs so"


def left_out(sessions: Sessions) -> list[str]:
    """Name the steps that were cut short: part of their gradients is missing."""
    return [
        f"Step {step.number} of {session.path.name} was cut short and is left out."
        for session in dict.fromkeys(sessions)
        for step in session.steps[-1:]
        if not step.complete
    ]


def too_many(gradients: GradientParting | None, graph: GraphDifference | None) -> list[str]:
    """Say how much of a long list is not told."""
    partings, nodes = gradients.unlisted if gradients else 0, graph.unlisted if graph else 0
    return [
        *([f"{partings} more gradients part at that step than are listed."] if partings else []),
        *([f"The graphs differ in {nodes} more nodes than are listed."] if nodes else []),
    ]


def unread(sessions: Sessions) -> list[str]:
    return [
        f"{len(session.gaps)} parts of {session.path.name} could not be read."
        for session in dict.fromkeys(sessions)
        if session.gaps
    ]


def _why_none(sessions: Sessions, kind: SubjectKind) -> str:
    enough = ("nodes",) if kind == "node" else ("modules", "nodes")
    lacking = [session for session in dict.fromkeys(sessions) if session.run.detail not in enough]
    if not lacking:
        return "no compared step has them in both"
    said = " and ".join(f"{session.path.name} has detail {session.run.detail}" for session in lacking)
    return f"{said} (--detail {enough[0]} records them)"

"""Which line overwrote it, and which backward call freed it: from Fault records, with both lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.records import Fault, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Certainty
    from gradwatch.session.session import Session

MAKES_ITS_RESULT = frozenset(
    {"Exp", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Relu", "Sqrt", "Rsqrt", "Reciprocal", "Selu", "Elu", "Pow"}
)
"""Ops whose backward uses their own result: it must not change, whoever has it."""

OPTIMIZER_STEP = "Optimizer.step"


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:  # noqa: ARG001 # every question is asked so
    """One finding a fault; the same two lines at many steps are one."""
    seen: dict[tuple[str, int, int, str], Fault] = {}
    for fault in session.reader.records(Fault):
        key = (fault.kind, _site(fault), _other(fault), fault.name)
        if key not in seen or (fault.raised and not seen[key].raised):
            seen[key] = fault
    for fault in seen.values():
        if fault.kind == "in-place":
            yield in_place(session, fault)
        elif fault.kind == "second backward":
            yield second_backward(session, fault)


def _site(fault: Fault) -> int:
    return fault.project_site if fault.project_site >= 0 else fault.site


def _other(fault: Fault) -> int:
    return fault.other_project_site if fault.other_project_site >= 0 else fault.other_site


def in_place(session: Session, fault: Fault) -> Finding:
    """The line at fault is the overwriter's; the saver's is the other."""
    name, op = fault.name or "a tensor", plain_op(fault.op)
    at = _other(fault) if _other(fault) >= 0 else _site(fault)
    text = session.line_text(at) if at >= 0 else None
    when = "then backward raised" if fault.raised else "backward did not need it this time"
    inferred = not fault.other_op and _other(fault) >= 0
    certainty: Certainty = "inferred" if inferred else "measured"
    return Finding(
        kind="in-place",
        severity="error" if fault.raised else "note",
        title=f"{name} was overwritten before backward",
        sentence=f"{op or 'An op'} saved {name} for its backward, and {_writer(fault)} changed it in place: {when}.",
        cause="optimizer step" if fault.other_op == OPTIMIZER_STEP else "in-place op",
        fix=_in_place_fix(fault, text),
        steps=[fault.step, fault.step],
        backward=fault.backward,
        graph=fault.graph,
        nodes=[fault.node] if fault.node >= 0 else [],
        modules=[fault.module] if fault.module >= 0 else [],
        site=at,
        other_site=_site(fault) if _site(fault) != at else -1,
        name=fault.name,
        evidence=_evidence(fault, inferred=inferred),
        certainty=certainty,
    )


def plain_op(node: str) -> str:
    """`Sigmoid` of `SigmoidBackward0`."""
    return node.rstrip("0123456789").removesuffix("Backward")


def _writer(fault: Fault) -> str:
    if fault.other_op == OPTIMIZER_STEP:
        return "an optimizer's step"
    if fault.other_op:
        return fault.other_op
    return "a later line" if _other(fault) >= 0 else "an op whose line was not seen"


def _in_place_fix(fault: Fault, text: str | None) -> str:
    name = fault.name or "x"
    if fault.other_op == OPTIMIZER_STEP:
        return "Run every backward of a graph before the optimizer's step, or compute the second loss anew after it"
    own = name.rpartition(".")[2]
    line = (text or "").strip()
    for sign in ("+", "-", "*", "/"):
        if f"{sign}=" in line:
            target, _, value = line.partition(f"{sign}=")
            target, value = target.strip(), value.partition("#")[0].strip()
            if "[" not in target:
                return f"Write {target} = {target} {sign} {value}, which makes a new tensor"
    if plain_op(fault.op) in MAKES_ITS_RESULT or "[" in line:
        return f"Change a copy: {own} = {own}.clone() before this line; its op needs the value that it returned"
    return f"Use the op without the underscore ({own} = {own}.op(...)), or change a copy: {own}.clone()"


def _evidence(fault: Fault, *, inferred: bool) -> list[str]:
    found = [f"node {fault.op}, saved as {fault.role}" if fault.role else f"node {fault.op}"]
    if inferred:
        found.append("the overwriting line was found in the source, by the tensor's name")
    if fault.message:
        found.append(fault.message.partition(" Hint:")[0])
    return found


def second_backward(session: Session, fault: Fault) -> Finding:
    """The line at fault is the second call's, or the first's where both are one line in a loop."""
    first, second = _site(fault), _other(fault)
    same = first == second
    return Finding(
        kind="second backward",
        severity="error" if fault.raised else "note",
        title="Backward through a freed graph",
        sentence=_second_sentence(session, fault, same=same),
        cause=_SECOND_CAUSES.get(fault.role, ""),
        fix=_second_fix(fault),
        steps=[fault.step, fault.step],
        backward=fault.backward,
        graph=fault.graph,
        nodes=[fault.node] if fault.node >= 0 else [],
        site=second if second >= 0 else first,
        other_site=-1 if same else first,
        name=fault.name,
        evidence=[f"stopped at node {fault.op}", *([fault.message.partition(" (")[0]] if fault.message else [])],
        certainty="measured" if first >= 0 else "inferred",
    )


_SECOND_CAUSES = {"same root": "same loss", "carried": "carried state", "shared": "shared graph"}


def _second_sentence(session: Session, fault: Fault, *, same: bool) -> str:
    first = _site(fault)
    line = f" (line {session.site(first).line})" if first >= 0 and not same else ""
    name = fault.name or "a tensor"
    if fault.role == "same root":
        return f"{name} was run backward{line}, which freed its graph, and is run backward again."
    if fault.role == "carried":
        return (
            f"{name} comes from an earlier pass of the loop, whose backward freed its graph; this backward goes "
            f"through it again, at {fault.op}."
        )
    if fault.role == "shared":
        return f"The first backward{line} freed the graph behind {name}; the second goes through it too, at {fault.op}."
    return f"This backward goes through what an earlier one freed, at {fault.op or 'a node'}."


def _second_fix(fault: Fault) -> str:
    name = fault.name or "state"
    if fault.role == "same root":
        return "Call backward() once; retain_graph=True only if both gradients are meant to be added"
    if fault.role == "carried":
        return f"Cut the graph between passes: {name} = {name}.detach()"
    return f"Sum the losses and call backward() once, or use {name}.detach() where one needs no gradient through it"

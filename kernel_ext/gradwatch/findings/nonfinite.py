"""Where NaN and Inf were born: from Birth records, one finding a birth; what came of it is told with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.causes import Cause, cause_of, operand
from gradwatch.records import Birth, Finding, Gradients, OptimizerStep
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import FindingKind, Severity
    from gradwatch.session.session import Session
    from gradwatch.session.steps import StepView

KINDS: dict[str, str] = {"nan": "NaN", "inf": "Inf"}


@dataclass(slots=True)
class Reading:
    """A birth with what its step says: the parameters that it reached, and whether a scaler skipped the step."""

    birth: Birth
    step: StepView | None
    kind: FindingKind
    reached: list[int]
    skipped: bool
    cause: Cause


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """The births of a session, the first first. What follows from one that reached the parameters folds into it."""
    births = sorted(session.reader.records(Birth), key=_when)
    found = _folded(session, births)
    yield from found
    if not births:
        yield from _without_births(session)
    yield from _underflow(session, thresholds)


def _when(birth: Birth) -> tuple[int, int, bool]:
    return birth.step, birth.backward, birth.phase == "backward"


def _folded(session: Session, births: list[Birth]) -> list[Finding]:
    found: list[Finding] = []
    at: dict[tuple[str, str, int], int] = {}
    poisoned = -1
    reach = _reach(session)
    for birth in births:
        reading = _read(session, birth, reach)
        if reading is None:
            continue
        key = (reading.cause.name, birth.op, _site(session, birth))
        origin = poisoned if poisoned >= 0 and found[poisoned].steps[0] < birth.step else at.get(key, -1)
        if origin >= 0:
            found[origin] = _seen_again(found[origin], birth)
            continue
        at[key] = len(found)
        if poisoned < 0 and _came_through(reading) and not reading.skipped and _stepped(reading):
            poisoned = len(found)
        found.append(_finding(session, reading))
    return found


def _came_through(reading: Reading) -> bool:
    """Whether it is in gradients, or in the loss that they were made from."""
    loss = reading.step.loss if reading.step is not None else None
    return bool(reading.reached) or (loss is not None and not math.isfinite(loss))


def _stepped(reading: Reading) -> bool:
    return reading.step is not None and reading.step.optimizer_count > 0


def _seen_again(finding: Finding, birth: Birth) -> Finding:
    return replace(finding, steps=[finding.steps[0], max(finding.steps[1], birth.step)])


def _read(session: Session, birth: Birth, reach: Callable[[int, int], frozenset[int]]) -> Reading | None:
    """None where nothing came of it: healed before it reached a parameter or the loss."""
    step = next((each for each in [_step(session, birth.step)] if each is not None), None)
    reached = birth.parameters or _bad_parameters(session, birth.step, birth.backward)
    if birth.phase == "backward" and birth.node >= 0 and birth.graph >= 0:
        below = reach(birth.graph, birth.node)
        reached = [number for number in reached if number in below] if below else reached
    loss = step.loss if step is not None else None
    bad_loss = loss is not None and not math.isfinite(loss)
    if birth.phase == "backward" and not reached:
        return None
    if birth.phase == "forward" and loss is not None and not bad_loss and not reached:
        return None
    skipped = step is not None and step.skipped and _goes_on(session, birth.step)
    cause = cause_of(birth)
    if birth.source == "parameter":
        cause = _by_the_optimizer(session, birth, cause)
    return Reading(birth, step, _kind(session, birth, (loss, reached)), reached, skipped, cause)


def _kind(session: Session, birth: Birth, came: tuple[float | None, list[int]]) -> FindingKind:
    """Inf as long as nothing became NaN of it where it counts: in the loss, or in a gradient."""
    loss, reached = came
    if birth.phase == "forward" and loss is not None and not math.isfinite(loss):
        return "nan" if math.isnan(loss) else "inf"
    if birth.nan:
        return "nan"
    return "nan" if reached and _has_nan(session, birth.step, set(reached)) else "inf"


def _step(session: Session, number: int) -> StepView | None:
    from gradwatch.errors import UsageError  # noqa: PLC0415 # asked of broken steps alone

    try:
        return session.step(number)
    except UsageError:
        return None


def _goes_on(session: Session, number: int) -> bool:
    """Whether, after a skipped step, one was made: the scale was found."""
    return any(step.number > number and step.optimizer_count > 0 for step in session.steps)


def _bad_rows(session: Session, step: int, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Parameters with their count of what `names` count, by backward call."""
    for record in session.reader.records_of_step(Gradients, step):
        if record.subject_kind == "parameter" and record.stop < 0:
            subjects = as_array(record.subjects, session.path).tolist()
            columns = [
                as_array(record.columns[name], session.path, len(subjects)) for name in names if name in record.columns
            ]
            if columns:
                yield from zip(subjects, sum(columns[1:], start=columns[0]).tolist(), strict=True)


def _bad_parameters(session: Session, step: int, backward: int) -> list[int]:  # noqa: ARG001 # gradients add up over calls
    return list(dict.fromkeys(number for number, count in _bad_rows(session, step, ("nan", "inf")) if count))


def _has_nan(session: Session, step: int, parameters: set[int]) -> bool:
    return any(count and number in parameters for number, count in _bad_rows(session, step, ("nan",)))


def _reach(session: Session) -> Callable[[int, int], frozenset[int]]:
    """Which parameters a gradient at a node of a graph flows to."""

    @lru_cache(64)
    def below(graph: int, node: int) -> frozenset[int]:
        columns = session.graph_columns(graph)
        if columns is None or node >= columns.record.node_count:
            return frozenset()
        targets: dict[int, list[int]] = {}
        sources, ends = (
            as_array(each, session.path) for each in (columns.record.edge_source, columns.record.edge_target)
        )
        for source, target in zip(sources.tolist(), ends.tolist(), strict=True):
            targets.setdefault(source, []).append(target)
        waiting, seen = [node], {node}
        while waiting:
            for target in targets.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return frozenset(int(columns.parameter_id[each]) for each in seen if columns.parameter_id[each] >= 0)

    return below


def _by_the_optimizer(session: Session, birth: Birth, cause: Cause) -> Cause:
    """Whether the step before made it: its update was not finite, of gradients that were."""
    for record in session.reader.records_of_step(OptimizerStep, birth.step - 1):
        columns = {name: as_array(each, session.path).tolist() for name, each in record.columns.items()}
        worst = [each for each in columns.get("update_ratio", []) if not math.isfinite(each)]
        if worst and all(math.isfinite(each) for each in columns.get("gradient_norm", [])):
            return Cause(
                "optimizer",
                f"{record.optimizer_class}.step() of step {birth.step - 1} wrote it although its gradients were finite",
                "Lower the learning rate, and give the optimizer an eps above 0.",
            )
    return cause


def _finding(session: Session, reading: Reading) -> Finding:
    birth, cause = reading.birth, reading.cause
    what = KINDS[reading.kind]
    severity: Severity = "note" if reading.skipped else "error"
    where = _where(session, birth)
    fix = cause.fix
    if reading.skipped:
        fix = "Nothing: the GradScaler skipped this step and lowered its scale."
    return Finding(
        kind=reading.kind,
        severity=severity,
        title=f"{what} born in {_op(birth)}" if not birth.source else f"{what} {_TITLES.get(cause.name, cause.name)}",
        sentence=f"{what} {_verb(birth)} {where} at step {birth.step}: {cause.because}{_came_to(session, reading)}.",
        cause=cause.name,
        fix=fix,
        steps=[birth.step, birth.step],
        backward=birth.backward,
        graph=birth.graph,
        nodes=[birth.node, *birth.path] if birth.node >= 0 else [],
        parameters=reading.reached,
        modules=[birth.module] if birth.module >= 0 else [],
        site=_site(session, birth),
        name=birth.name,
        evidence=[*_evidence(birth), *_healed(session, birth)],
        certainty="measured" if birth.exact else "inferred",
    )


_TITLES = {"optimizer": "written by the optimizer"}


def _verb(birth: Birth) -> str:
    return "came in" if birth.source else "was born"


def _op(birth: Birth) -> str:
    is_custom = any(each.facts.get("custom") for each in birth.operands)
    return birth.op.lower() if birth.op.isalnum() and not is_custom else birth.op


def _where(session: Session, birth: Birth) -> str:
    module = session.names.module_name(birth.module)
    place = f" of {module}" if module else ""
    if birth.source == "seed":
        return "with the gradient that backward() was given"
    if birth.source:
        return f"at {_op(birth)}{place}"
    return f"in the {birth.phase} of {_op(birth)}{place}"


def _came_to(session: Session, reading: Reading) -> str:
    names = [session.names.parameter_name(number) or "" for number in reading.reached]
    if reading.skipped:
        return "; the GradScaler skipped the step"
    if names:
        return f"; it reached {words.names([name for name in names if name])}"
    loss = reading.step.loss if reading.step is not None else None
    return f"; the loss is {loss}" if loss is not None and not math.isfinite(loss) else ""


def _evidence(birth: Birth) -> list[str]:
    lines: list[str] = []
    for each in birth.operands:
        bad = [f"{count:,} {name}" for name, count in (("NaN", each.nan), ("Inf", each.inf)) if count]
        parts = [f"{each.zeros:,} of {each.count:,} are 0", *bad]
        if math.isfinite(each.min) and math.isfinite(each.max):
            parts.append(f"from {words.number(each.min)} to {words.number(each.max)}")
        shape = " x ".join(map(str, each.shape)) or "scalar"
        lines.append(f"{each.role} ({each.dtype}, {shape}): {', '.join(parts)}")
    made = operand(birth, "grad input")
    if made is not None and made.facts.get("given 0", 0) > 0:
        lines.append(f"{made.facts['given 0']:g} of them were given a gradient of exactly 0")
    return lines


def _healed(session: Session, birth: Birth) -> list[str]:
    """Where it became finite again, on ways beside the one that is told."""
    columns = session.graph_columns(birth.graph) if birth.healed and birth.graph >= 0 else None
    if columns is None:
        return []
    labels = [session.sources_by_id.label(session.site_of(birth.graph, node, project=True)) for node in birth.healed]
    ops = [
        f"{columns.name(node)} at {label}" if label else columns.name(node)
        for node, label in zip(birth.healed, labels, strict=True)
    ]
    return [f"finite again after {words.names(ops)}"]


def _site(session: Session, birth: Birth) -> int:
    traced = -1
    if birth.graph >= 0 and birth.node >= 0:
        traced = session.site_of(birth.graph, birth.node, project=True)
    own = birth.project_site if birth.project_site >= 0 else birth.site
    return traced if traced >= 0 else own


def _without_births(session: Session) -> Iterator[Finding]:
    """Gradients that are not finite where nobody saw why: recorded at `parameters`, or by an older version."""
    for rows in session.gradient_records("parameter"):
        bad = (rows.nan > 0) | (rows.inf > 0)
        step = _step(session, rows.step)
        if not bad.any() or (step is not None and step.skipped):
            continue
        kind: FindingKind = "nan" if bool((rows.nan > 0).any()) else "inf"
        parameters = [int(number) for number in rows.subjects[bad]]
        names = [session.names.parameter_name(number) or "" for number in parameters]
        yield Finding(
            kind=kind,
            severity="error",
            title=f"{KINDS[kind]} in the gradients",
            sentence=f"The gradient of {words.names(names)} has {KINDS[kind]} from step {rows.step} on; where it was "
            "born was not seen.",
            cause="unknown",
            fix='Record with detail="modules" or "nodes": then its birth is found.',
            steps=[rows.step, rows.step],
            parameters=parameters,
        )
        return


def _underflow(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Gradients in float16 most of whose values are 0 or subnormal: they lost their digits, or all."""
    halves = {view.id for view in session.parameters if view.dtype == "float16"}
    if not halves:
        return
    for rows in session.gradient_records("parameter"):
        lost = (rows.zeros + rows.subnormals) / rows.count.clip(min=1)
        few = (rows.subnormals > 0) & (lost >= thresholds.underflow_share) & (rows.nan + rows.inf == 0)
        bad = [
            int(number)
            for number, is_bad in zip(rows.subjects, few.tolist(), strict=True)
            if is_bad and number in halves
        ]
        if bad:
            names = [session.names.parameter_name(number) or "" for number in bad]
            share = float(lost[few].max())
            yield Finding(
                kind="underflow",
                severity="warning",
                title="Gradients underflow in float16",
                sentence=f"At step {rows.step}, {words.percent(share)} of the gradient of {words.names(names)} is 0 or "
                "subnormal in float16: too small to be held.",
                cause="half precision",
                fix="Scale the loss (`torch.amp.GradScaler`), or use bfloat16.",
                steps=[rows.step, rows.step],
                parameters=bad,
                evidence=[f"smallest normal float16: {words.number(2.0**-14)}"],
            )
            return

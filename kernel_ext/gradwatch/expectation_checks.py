"""Session in, what is not as expected out: the checks behind `gradwatch.expect`. Pure, no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import UsageError
from gradwatch.expectation_names import bytes_of, matching
from gradwatch.findings.all import SEVERITIES
from gradwatch.records import Activations, Backward, Finding, Retained
from gradwatch.reporters import numbers
from gradwatch.session.columns import as_array
from gradwatch.session.compare import compare
from gradwatch.session.held import HELD_CLASSES
from gradwatch.session.sources import LineTexts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradwatch.records import FindingKind, Severity
    from gradwatch.session.compare_result import Parting
    from gradwatch.session.compare_tolerance import Tolerance
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session

_LISTED = 8

NO_GRADIENT: frozenset[FindingKind] = frozenset({"unreached", "stale", "zero gradient", "frozen", "replaced", "zeroed"})
NOT_FINITE: frozenset[FindingKind] = frozenset({"nan", "inf"})


@dataclass(frozen=True, slots=True)
class Failure:
    """What is not as expected: a sentence, lines with the values, findings that explain it, and a place without one."""

    sentence: str
    values: list[str] = field(default_factory=list[str])
    findings: list[Finding] = field(default_factory=list[Finding])
    site: int = -1
    fix: str = ""

    def text(self, session: Session) -> str:
        """Write it as a finding is written: what, where, the values, the fix."""
        lines = [self.sentence, *_place(session, self.site, "  ")]
        lines += [f"  {value}" for value in _some(self.values)]
        for finding in self.findings[:_LISTED]:
            lines += ["", *_told(session, finding)]
        if len(self.findings) > _LISTED:
            lines += ["", f"  and {len(self.findings) - _LISTED} more findings"]
        if self.fix and not any(finding.fix for finding in self.findings):
            lines.append(f"  fix: {self.fix}")
        return "\n".join([*lines, "", f"session: {session.path}"])


def without_backward(session: Session) -> Failure | None:
    if next(session.reader.records(Backward), None) is not None:
        return None
    return Failure(
        "No backward call was recorded, so nothing can be said of this run.",
        [notice.text for notice in session.notices],
        fix="train at least one step while it records; a step is read once the next one begins, or the recording ended",
    )


def unreached(session: Session, patterns: Sequence[str]) -> Failure | None:
    asked = matching(session.parameters, patterns, "parameter")
    trained = [view for view in asked if view.requires_grad]
    if not trained:
        values = [f"{view.name}: requires_grad is False" for view in asked]
        sentence = f"All that matches {_listed(patterns)} is frozen: {numbers.counted(len(asked), 'parameter')}."
        return Failure(sentence, values, fix="requires_grad_(True), before the forward")
    rows, alive = _reached(session)
    missed = [view for view in trained if view.id not in alive]
    if not missed:
        return None
    steps = numbers.counted(len(session.steps), "step")
    values = [f"{view.name}: {'all zeros' if view.id in rows else 'no gradient'} in {steps}" for view in missed]
    sentence = (
        f"Gradients do not reach {len(missed)} of {numbers.counted(len(trained), 'parameter')} "
        f"that match {_listed(patterns)}."
    )
    return Failure(sentence, values, _findings_of(session, NO_GRADIENT, missed))


def nonfinite(session: Session, patterns: Sequence[str]) -> Failure | None:
    asked = matching(session.parameters, patterns, "parameter") if patterns else None
    found = list(_nonfinite_values(session, asked))
    if not found:
        return None
    views = list(session.parameters) if asked is None else asked
    explained = _findings_of(session, NOT_FINITE, views) or [f for f in session.findings if f.kind in NOT_FINITE]
    are = "value that was recorded is" if len(found) == 1 else "values that were recorded are"
    return Failure(f"{numbers.count(len(found))} {are} not finite.", found, explained)


def holds_too_much(session: Session, pattern: str, limit: str | int) -> Failure | None:
    modules = {view.name for view in matching(session.modules, [pattern], "module")}
    allowed = bytes_of(limit)
    worst: tuple[int, int, int] | None = None
    seen: dict[int, int] = {}
    for call in session.reader.records(Backward):
        if call.ledger < 0:
            continue
        if call.ledger not in seen:
            seen[call.ledger] = sum(_held_by_line(session, call.ledger, modules).values())
        if worst is None or seen[call.ledger] > worst[0]:
            worst = seen[call.ledger], call.step, call.ledger
    if worst is None:
        raise UsageError('What was held was not read. Record with detail="modules" or "nodes", or held=True.')
    held, step, ledger = worst
    if held < allowed:
        return None
    sentence = (
        f"{pattern} held {numbers.size(held)} for backward in step {step}, "
        f"over the limit of {numbers.size(allowed)} by {numbers.size(held - allowed)}."
    )
    lines = _held_by_line(session, ledger, modules).most_common()
    values = [f"{numbers.size(size)}  {line}  {_text(session, line)}".rstrip() for line, size in lines]
    within = [view.id for view in session.modules if view.name in modules]
    helps = [each for each in session.findings if each.kind == "what if" and set(each.modules) & set(within)]
    return Failure(sentence, values, helps)


def graph_is_alive(session: Session) -> Failure | None:
    found = [each for each in session.findings if each.kind == "retained graph" and each.severity != "note"]
    alive = [record for record in session.reader.records(Retained) if record.graphs > 1]
    if not found and not alive:
        return None
    if not alive:
        return Failure("Graphs of past steps are still alive.", [], found)
    last = alive[-1]
    size = f" and hold {numbers.size(last.held_bytes)}" if last.held_bytes > 0 else ""
    sentence = f"{numbers.counted(last.graphs, 'graph')} of past steps are still alive at step {last.step}{size}."
    values = [
        f"{holder.chain} ({holder.kind}) keeps {numbers.counted(holder.count, 'tensor')}" for holder in last.holders
    ]
    fix = "keep numbers, not tensors with a graph: loss.item() or loss.detach()"
    return Failure(sentence, [] if found else values, found, -1 if found else last.site, fix)


def other_gradients(session: Session, other: Session, tolerance: Tolerance) -> Failure | None:
    result = compare(session, other, tolerance=tolerance)
    lengths = [(result.only_steps_a, session), (result.only_steps_b, other)]
    values = [f"only {each.path.name} has step {_numbers(steps)}" for steps, each in lengths if steps]
    names = result.names.parameter
    for only, each in ((names.only_a, session), (names.only_b, other)):
        values += [f"only {each.path.name} has parameter {name}" for name in only]
    if not result.parts and not values:
        return None
    if result.loss is not None:
        loss = result.loss
        values.insert(0, f"loss at step {loss.step_a}: {loss.a!r}, not {loss.b!r}")
    if result.gradients is None:
        return Failure(f"The run is not that of {other.path}.", values)
    parting = result.gradients
    first = parting.first
    sentence = (
        f"Gradients are not those of {other.path}: {numbers.counted(len(parting.parameters), 'parameter')} "
        f"parted at step {parting.step_a}, first {first.name_a}."
    )
    return Failure(sentence, [*_gap_lines(first), *values], site=_site_of(session, first))


def not_silent(session: Session, severity: Severity) -> Failure | None:
    if severity not in SEVERITIES:
        raise UsageError(f"There is no severity {severity!r}. There are: {', '.join(SEVERITIES)}.")
    grave = SEVERITIES[: SEVERITIES.index(severity) + 1]
    found = [finding for finding in session.findings if finding.severity in grave]
    if not found:
        return None
    counts = Counter(finding.severity for finding in found)
    listed = ", ".join(numbers.counted(counts[each], each) for each in SEVERITIES if counts[each])
    return Failure(f"{numbers.counted(len(found), 'finding')}: {listed}.", [], found)


def _reached(session: Session) -> tuple[set[int], set[int]]:
    """Parameters that a gradient was recorded of, and those of which one was not all zero. NaN counts as one."""
    seen: set[int] = set()
    alive: set[int] = set()
    for rows in session.gradient_records("parameter"):
        seen.update(rows.subjects.tolist())
        alive.update(rows.subjects[(rows.norm > 0) | (rows.nan > 0) | (rows.inf > 0)].tolist())
    return seen, alive


def _nonfinite_values(session: Session, asked: list[ParameterView] | None) -> Iterator[str]:
    """What is not finite, one line each, the first of every subject: losses, then what the forward and backward saw."""
    skipped = {step.number for step in session.steps if step.skipped}
    if asked is None:
        for step in session.steps:
            if step.loss is not None and not np.isfinite(step.loss) and step.number not in skipped:
                yield f"loss at step {step.number}: {numbers.nonfinite(step.loss)}"
                break
        yield from _nonfinite_outputs(session, skipped)
    told: set[tuple[str, int]] = set()
    wanted = None if asked is None else {view.id for view in asked}
    for kind in ("parameter",) if asked is not None else ("parameter", "module"):
        for rows in session.gradient_records(kind):
            if rows.step in skipped:
                continue
            for row in np.flatnonzero((rows.nan > 0) | (rows.inf > 0)).tolist():
                subject = int(rows.subjects[row])
                if (kind, subject) in told or (wanted is not None and subject not in wanted):
                    continue
                told.add((kind, subject))
                counts = _bad(int(rows.nan[row]), int(rows.inf[row]), int(rows.count[row]))
                yield f"gradient of {rows.names[row]} at step {rows.step}: {counts}"


def _nonfinite_outputs(session: Session, skipped: set[int]) -> Iterator[str]:
    told: set[int] = set()
    for record in session.reader.records(Activations):
        subjects = as_array(record.subjects, session.path)
        if record.step in skipped or not {"nan", "inf", "count"} <= set(record.columns):
            continue
        nan, inf, count = (
            as_array(record.columns[key], session.path, len(subjects)) for key in ("nan", "inf", "count")
        )
        for row in np.flatnonzero((nan > 0) | (inf > 0)).tolist():
            subject = int(subjects[row])
            if subject not in told:
                told.add(subject)
                name = session.names.subject_name("module", subject)
                yield f"output of {name} at step {record.step}: {_bad(int(nan[row]), int(inf[row]), int(count[row]))}"


def _bad(nan: int, inf: int, count: int) -> str:
    parts = [f"{numbers.count(each)} {name}" for each, name in ((nan, "NaN"), (inf, "Inf")) if each > 0]
    return f"{' and '.join(parts)} of {numbers.count(count)}"


def _held_by_line(session: Session, ledger: int, modules: set[str]) -> Counter[str]:
    """Bytes by line of what some modules were charged with."""
    table = session.ledger_table(ledger)
    found: Counter[str] = Counter()
    if table is None:
        return found
    counted = {number for number, name in enumerate(table.class_bytes()) if name in HELD_CLASSES}
    for storage, row in enumerate(table.charged_row.tolist()):
        if row >= 0 and int(table.storage_class[storage]) in counted and table.module(row) in modules:
            found[table.line(row) or "(unknown line)"] += int(table.storage_bytes[storage])
    return found


def _findings_of(session: Session, kinds: frozenset[FindingKind], views: list[ParameterView]) -> list[Finding]:
    wanted = {view.id for view in views}
    return [each for each in session.findings if each.kind in kinds and wanted & set(each.parameters)]


def _gap_lines(parting: Parting) -> list[str]:
    if parting.a is None or parting.b is None:
        return [f"{parting.name_a}: {'no gradient, there it has one' if parting.a is None else 'there it has none'}"]
    return [
        f"{parting.name_a} {gap.statistic}: {gap.a:.9g}, not {gap.b:.9g} ({gap.relative:.2g} apart)"
        for gap in parting.gaps
        if gap.parts
    ]


def _site_of(session: Session, parting: Parting) -> int:
    if parting.node is None:
        return -1
    columns = session.graph(parting.at.step_a, parting.at.backward).columns
    return int(columns.site_id[parting.node.a.index])


def _told(session: Session, finding: Finding) -> list[str]:
    lines = [f"  {finding.severity}: {finding.title}", *_place(session, finding.site, "    ")]
    lines += _place(session, finding.other_site, "    ")
    lines.append(f"    {finding.sentence}")
    return [*lines, f"    fix: {finding.fix}"] if finding.fix else lines


def _place(session: Session, site: int, indent: str) -> list[str]:
    label = session.sources_by_id.label(site)
    if label is None:
        return []
    return [f"{indent}{label}  {session.line_text(site) or ''}".rstrip()]


def _text(session: Session, label: str) -> str:
    return LineTexts(session).text(label) or ""


def _some(values: list[str]) -> list[str]:
    return values if len(values) <= _LISTED else [*values[:_LISTED], f"and {len(values) - _LISTED} more"]


def _listed(patterns: Sequence[str]) -> str:
    return " or ".join(repr(pattern) for pattern in patterns)


def _numbers(steps: list[int]) -> str:
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"

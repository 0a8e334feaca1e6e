"""Findings -> rows: ids become names, sites become lines with their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.reporters.places import Quotes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradwatch.records import Finding
    from gradwatch.reporters.findings_json import FindingRow
    from gradwatch.session.session import Session


def finding_rows(session: Session, findings: Iterable[Finding]) -> list[FindingRow]:
    """Return findings as reports show them, in their order."""
    quotes = Quotes(session)
    return [_row(session, quotes, finding) for finding in findings]


def _row(session: Session, quotes: Quotes, finding: Finding) -> FindingRow:
    label, names = session.sources_by_id.label, session.names
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "certainty": finding.certainty,
        "title": finding.title,
        "sentence": finding.sentence,
        "cause": finding.cause,
        "fix": finding.fix,
        "first_step": finding.steps[0] if finding.steps else None,
        "last_step": finding.steps[-1] if finding.steps else None,
        "place": quotes.place(label(finding.site)),
        "other_place": quotes.place(label(finding.other_site)),
        "name": finding.name,
        "parameters": [names.parameter_name(number) or f"parameter {number}" for number in finding.parameters],
        "modules": [names.module_name(number) or f"module {number}" for number in finding.modules],
        "bytes": finding.bytes if finding.bytes >= 0 else None,
        "evidence": list(finding.evidence),
    }

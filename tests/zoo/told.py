"""A finding as a test's failure shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch import Session
    from gradwatch.records import Finding


def told(session: Session, finding: Finding) -> str:
    """Write what it says, its line and its evidence."""
    place = session.sources_by_id.label(finding.site) or "-"
    text = session.line_text(finding.site) if finding.site >= 0 else ""
    names = [session.parameters[number].name for number in finding.parameters[:4]]
    return (
        f"{finding.severity} {finding.kind}/{finding.cause} at {place} [{text}] {finding.sentence} "
        f"{names} {finding.evidence[:3]}"
    )

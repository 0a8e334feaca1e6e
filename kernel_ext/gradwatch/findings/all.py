"""Every question, asked of one session."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from gradwatch.findings.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradwatch.records import Finding
    from gradwatch.session.session import Session

SEVERITIES = ("error", "warning", "note")

QUESTIONS: tuple[str, ...] = ()
"""Modules of this package, in the order in which their findings stand among those of one severity."""


class Question(Protocol):
    """What each module in QUESTIONS has: a pure function of the session."""

    def find(self, session: Session, thresholds: Thresholds) -> Iterable[Finding]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, the worst first, and which questions could not be answered: a traceback by module."""

    findings: tuple[Finding, ...]
    failed: dict[str, str] = field(default_factory=dict[str, str])


def find(session: Session, thresholds: Thresholds | None = None) -> Found:
    """Ask every question of a session. One that fails costs only its own answer."""
    findings: list[Finding] = []
    failed: dict[str, str] = {}
    for name in QUESTIONS:
        question: Question = import_module(f"gradwatch.findings.{name}")  # pyright: ignore[reportAssignmentType] # each has `find`
        try:
            findings += question.find(session, thresholds or Thresholds())
        except Exception:  # noqa: BLE001 # a damaged session, or a defect of ours: the other answers stand
            failed[name] = traceback.format_exc()
    return Found(tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))), failed)

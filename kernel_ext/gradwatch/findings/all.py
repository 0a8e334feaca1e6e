"""Every question, asked of one session."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from gradwatch.findings.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradwatch.records import Finding
    from gradwatch.session.session import Session

SEVERITIES = ("error", "warning", "note")

QUESTIONS: tuple[str, ...] = (
    "nonfinite",
    "retained",
    "faults",
    "out_of_memory",
    "held",
    "what_if",
    "unreached",
    "optimized",
    "applied",
    "zero_gradients",
    "flow",
    "dead",
    "updates",
    "fan_in",
    "noise",
)
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
    return found_in(answers(session, thresholds))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question found, or the traceback of its failure."""

    question: str
    findings: list[Finding]
    failure: str | None = None


def answers(session: Session, thresholds: Thresholds | None = None) -> Iterator[Answer]:
    """Ask one question after the other, for whoever cannot wait for all of them."""
    for name in QUESTIONS:
        yield _answer(name, session, thresholds or Thresholds())


def _answer(name: str, session: Session, thresholds: Thresholds) -> Answer:
    try:
        question: Question = import_module(f"gradwatch.findings.{name}")  # pyright: ignore[reportAssignmentType] # each has `find`
        return Answer(name, list(question.find(session, thresholds)))
    except Exception:  # noqa: BLE001 # a damaged session, or a defect of ours: the other answers stand
        return Answer(name, [], traceback.format_exc())


def found_in(given: Iterable[Answer]) -> Found:
    """Answers taken together."""
    findings: list[Finding] = []
    failed: dict[str, str] = {}
    for answer in given:
        findings += answer.findings
        if answer.failure is not None:
            failed[answer.question] = answer.failure
    return Found(tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))), failed)

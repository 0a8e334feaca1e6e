"""Sessions of ranks -> the content of `gradwatch show FOLDER`: a row a rank, and which are unlike the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from gradwatch.errors import GradwatchError
from gradwatch.reporters.json import REPORT_FORMAT, REPORT_VERSION

if TYPE_CHECKING:
    from gradwatch.session.rank_sessions import RankSessions
    from gradwatch.session.session import Session
    from gradwatch.session.steps import StepView


class ShownRank(TypedDict):
    """One rank. The numbers are of its last whole step; None where they were not recorded."""

    rank: int
    path: str
    steps: int
    step: int | None
    loss: float | None
    gradient_norm: float | None
    held_bytes: int | None
    finished: bool
    parts: bool | None  # None: the ranks could not be compared


class ShowRanksReport(TypedDict):
    """`gradwatch show FOLDER --json`."""

    format: str
    version: int
    command: Literal["show"]
    folder: str
    common_steps: list[int]
    ranks: list[ShownRank]
    not_compared: str | None  # why no rank could be compared
    unreadable: list[dict[str, str]]


def show_ranks_report(sessions: RankSessions) -> ShowRanksReport:
    """Say what `gradwatch show FOLDER` says."""
    parting: list[int] | None = None
    why: str | None = None
    try:
        parting = sessions.ranks_that_part()
    except GradwatchError as error:
        why = str(error).partition("\n")[0]
    return {
        "format": REPORT_FORMAT,
        "version": REPORT_VERSION,
        "command": "show",
        "folder": str(sessions.folder),
        "common_steps": sessions.steps.tolist(),
        "ranks": [_row(rank, session, parting) for rank, session in sessions.sessions.items()],
        "not_compared": why,
        "unreadable": [{"path": str(each.path), "reason": each.reason} for each in sessions.unreadable],
    }


def _row(rank: int, session: Session, parting: list[int] | None) -> ShownRank:
    whole = [step for step in session.steps if step.complete]
    last = whole[-1] if whole else None
    return {
        "rank": rank,
        "path": str(session.path),
        "steps": len(session.steps),
        "step": None if last is None else last.number,
        "loss": None if last is None else last.loss,
        "gradient_norm": None if last is None else _norm(session, last.number),
        "held_bytes": None if last is None else _held(last),
        "finished": session.finish is not None,
        "parts": None if parting is None else rank in parting,
    }


def _norm(session: Session, step: int) -> float | None:
    """The norm over all parameters; NaN or infinite where an element is."""
    rows = session.gradients_at(step)
    if not len(rows):
        return None
    norms = np.where(rows.nan > 0, np.nan, np.where(rows.inf > 0, np.inf, rows.norm))
    return float(np.sqrt(np.sum(np.square(norms))))


def _held(step: StepView) -> int | None:
    """The most that a call of the step held."""
    return max((call.held_bytes for call in step.backwards if call.held_bytes >= 0), default=None)

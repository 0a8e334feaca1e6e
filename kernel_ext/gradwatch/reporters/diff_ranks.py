"""Folders of rank files -> the content of `gradwatch diff FOLDER [FOLDER]`, one pair of ranks after the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradwatch.errors import GradwatchError
from gradwatch.reporters.diff_json import DIFF_VERSION
from gradwatch.reporters.diff_report import diff_report
from gradwatch.reporters.json import REPORT_FORMAT
from gradwatch.session.compare import compare
from gradwatch.session.local_ranks import first_troubled, local_gradients_of
from gradwatch.session.ranks import pairs_of
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch.reporters import diff_json as shapes
    from gradwatch.session.compare import Tolerance
    from gradwatch.session.local_ranks import LocalGradientsOfRank
    from gradwatch.session.ranks import RankFiles, RankPair


def ranks_report(
    a: RankFiles, b: RankFiles | None, *, steps: tuple[int, int] | None, tolerance: Tolerance
) -> shapes.RanksReport:
    """Compare rank by rank; `b` None compares those of one folder. Only two files are open at a time.

    Raises UsageError where there is no pair of ranks.
    """
    rows: list[shapes.RankRow] = []
    first: shapes.DiffReport | None = None
    for pair in pairs_of(a, b):
        try:
            report = _compared(pair, steps, tolerance, ranks=b is None)
        except GradwatchError as error:
            rows.append(_row_of_error(pair, error))
            continue
        rows.append(_row(pair, report))
        if report["parts"] and (first is None or _precedence(report) < _precedence(first)):
            first = report
    local = _local(a, steps) if b is None else []
    unreadable = [*a.unreadable, *(b.unreadable if b else [])]
    return {
        "format": REPORT_FORMAT,
        "version": DIFF_VERSION,
        "command": "diff",
        "parts": first is not None or any(row["first"] for row in local),
        "complete": not unreadable and all(row["parts"] is not None for row in rows),
        "a": str(a.folder),
        "b": str(b.folder) if b else None,
        "tolerance": {"rtol": tolerance.rtol, "atol": tolerance.atol},
        "ranks": rows,
        "first": first,
        "local": local,
        "only_a": [rank for rank in a.paths if b and rank not in b.paths],
        "only_b": [rank for rank in b.paths if rank not in a.paths] if b else [],
        "unreadable": [{"path": str(each.path), "reason": each.reason} for each in unreadable],
    }


def _compared(pair: RankPair, steps: tuple[int, int] | None, tolerance: Tolerance, *, ranks: bool) -> shapes.DiffReport:
    with Session(pair.path_a) as a, Session(pair.path_b) as b:
        return diff_report(compare(a, b, steps=steps, tolerance=tolerance, ranks=ranks))


def _local(files: RankFiles, steps: tuple[int, int] | None) -> list[shapes.LocalRow]:
    """Look at what each rank brought to the reductions; a file that cannot be read to its end brings nothing."""
    found: dict[int, LocalGradientsOfRank] = {}
    for rank, path in files.paths.items():
        try:
            with Session(path) as session:
                found[rank] = local_gradients_of(session, None if steps is None else {steps[0]})
        except GradwatchError:  # noqa: PERF203 # the row of its pair says so
            continue
    first = first_troubled(found)
    return [_local_row(rank, files.paths[rank], each, is_first=rank in first) for rank, each in found.items()]


def _local_row(rank: int, path: Path, found: LocalGradientsOfRank, *, is_first: bool) -> shapes.LocalRow:
    trouble = found.trouble
    return {
        "rank": rank,
        "path": str(path),
        "calls": found.seen,
        "step": trouble.step if trouble else None,
        "backward": trouble.backward if trouble else None,
        "name": trouble.name if trouble else None,
        "nan": trouble.nan if trouble else None,
        "inf": trouble.inf if trouble else None,
        "first": is_first,
    }


def _row(pair: RankPair, report: shapes.DiffReport) -> shapes.RankRow:
    gradients, loss, when = report["gradients"], report["loss"], _when(report)
    at_gradients = gradients if gradients and gradients["step"] == when else None
    at_loss = loss if loss and loss["step"] == when else None
    there = at_gradients or at_loss
    return {
        "rank": pair.rank_a,
        "rank_b": pair.rank_b,
        "path": str(pair.path_a),
        "path_b": str(pair.path_b),
        "parts": report["parts"],
        "step": there["step"] if there else None,
        "step_b": there["step_b"] if there else None,
        "gradients": at_gradients["first"] if at_gradients else None,
        "loss": at_loss,
        "compared": report["compared"],
        "error": None,
    }


def _row_of_error(pair: RankPair, error: GradwatchError) -> shapes.RankRow:
    return {
        "rank": pair.rank_a,
        "rank_b": pair.rank_b,
        "path": str(pair.path_a),
        "path_b": str(pair.path_b),
        "parts": None,
        "step": None,
        "step_b": None,
        "gradients": None,
        "loss": None,
        "compared": None,
        "error": str(error).partition("\n")[0],
    }


def _when(report: shapes.DiffReport) -> float:
    """The first step that parts; before any where a parameter is in one alone, and at none where nothing parts."""
    steps = [parting["step"] for parting in (report["gradients"], report["loss"]) if parting]
    return min(steps, default=-1 if report["parts"] else math.inf)


def _precedence(report: shapes.DiffReport) -> tuple[float, bool]:
    """By step; of one step, what parts within the rank itself before what averaging may have brought."""
    gradients, loss, when = report["gradients"], report["loss"], _when(report)
    own = gradients is not None and gradients["step"] == when and gradients["first"]["kind"] != "parameter"
    return when, not (own or (loss is not None and loss["step"] == when))

"""`gradwatch diff FOLDER` in the terminal: each rank's line, then the whole comparison of the pair that parts first."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page
from gradwatch.reporters.terminal_diff import diff as lay_out_diff
from gradwatch.reporters.terminal_diff_gradients import step_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gradwatch.reporters.diff_json import RankRow, RanksReport

SHOWN_RANKS = 64
_NONFINITE: dict[Literal["nan", "inf"], str] = {"nan": "NaN", "inf": "Inf"}


def ranks(report: RanksReport, width: int) -> RenderableType:
    """Lay out the comparison of ranks, `width` columns wide."""
    blank = Text("")
    sentences = [*_local_sentences(report), _sentence(report)]
    parts: list[RenderableType] = [Group(Text(" ".join(sentences), "bold"), Text(_compared(report), "dim")), blank]
    parts += [_rank_table(report, width), blank]
    notes = _notes(report)
    if notes:
        parts += [page.section("To know", "", *(Text(f"{glyphs.NOTICE} {note}", "yellow") for note in notes)), blank]
    first = report["first"]
    if first is not None:
        parts += [page.heading(f"Rank {_first_row(report)['rank_b']}, which parts first"), blank]
        parts += [lay_out_diff(first, width)]
    return Group(*parts)


def _sentence(report: RanksReport) -> str:
    failed = sum(row["parts"] is None for row in report["ranks"])
    parted = sum(row["parts"] is True for row in report["ranks"])
    if parted:
        row = _first_row(report)
        where = "in parameters of one alone" if row["step"] is None else f"at {_step(row)}"
        word = "parts" if parted == 1 else "part"
        return (
            f"{parted} of {numbers.counted(len(report['ranks']), 'rank')} {word}: rank {row['rank_b']} first, {where}."
        )
    if failed == len(report["ranks"]):
        return "No rank could be compared."
    so_far = "" if report["complete"] else "Not every rank could be compared. "
    if any(row["first"] for row in report["local"]):
        return f"{so_far}After reduction no difference is seen: all have the same."
    return f"{so_far}No difference is seen in the statistics of gradients; values may still differ."


def _local_sentences(report: RanksReport) -> list[str]:
    """Say whose own gradients stopped being finite first: after reduction all ranks have the same."""
    first = [row for row in report["local"] if row["first"]]
    if not first:
        return []
    row = first[0]
    what = " and ".join(f"{row[kind]} {_NONFINITE[kind]}" for kind in _NONFINITE if row[kind])
    who = _ranks([each["rank"] for each in first])
    where = f"first at step {row['step']} in backward call {row['backward']}: {row['name']} ({what})"
    return [f"{who} alone had gradients that were not finite before reduction, {where}."]


def _compared(report: RanksReport) -> str:
    tolerance = report["tolerance"]
    exact = tolerance["rtol"] == 0 == tolerance["atol"]
    limit = "exactly" if exact else f"rtol {tolerance['rtol']:g}, atol {tolerance['atol']:g}"
    if report["b"] is not None:
        return f"compared: ranks of {report['a']} with those of {report['b']}; {limit}"
    with_ = report["ranks"][0]["rank"]
    return f"compared: ranks of {report['a']} with rank {with_}, by the gradients of parameters; {limit}"


def _rank_table(report: RanksReport, width: int) -> RenderableType:
    made = page.table(("rank", "right"), ("file", "left"), ("steps", "right"), ("parts at", "left"), ("", "left"))
    for row in _shown(report["ranks"]):
        compared = row["compared"]
        steps = numbers.count(compared["steps"]) if compared else numbers.MISSING
        when, what = _parting(row)
        name = page.shortened(PurePath(row["path_b"]).name, max(20, width // 3))
        made.add_row(str(row["rank_b"]), name, steps, when, page.cut(what, max(20, width // 2)))
    rest = len(report["ranks"]) - SHOWN_RANKS
    more = Text(f"and {numbers.counted(rest, 'rank')} more: --json has them", "dim")
    return Group(made, more) if rest > 0 else made


def _shown(rows: Sequence[RankRow]) -> Sequence[RankRow]:
    """All of a few; of many those that part, or could not be compared, come first."""
    if len(rows) <= SHOWN_RANKS:
        return rows
    return sorted(rows, key=lambda row: row["parts"] is False)[:SHOWN_RANKS]


def _parting(row: RankRow) -> tuple[Text, str]:
    if row["parts"] is None:
        return Text("not compared", "yellow"), row["error"] or ""
    if not row["parts"]:
        return Text(numbers.MISSING, "dim"), ""
    if row["step"] is None:
        return Text("parameters", "yellow"), "some are in one alone"
    gradients = row["gradients"]
    return Text(_step(row), "yellow"), gradients["name"] if gradients else "loss"


def _step(row: RankRow) -> str:
    return step_text(row["step"] if row["step"] is not None else -1, row["step_b"] if row["step_b"] is not None else -1)


def _first_row(report: RanksReport) -> RankRow:
    first = report["first"]
    paths = (first["a"]["path"], first["b"]["path"]) if first else None
    return next(row for row in report["ranks"] if (row["path"], row["path_b"]) == paths)


def _notes(report: RanksReport) -> list[str]:
    alone = [
        f"{_ranks(only)} in {report[side]} alone."
        for side, only in (("a", report["only_a"]), ("b", report["only_b"]))
        if only
    ]
    return [*alone, *(each["reason"] for each in report["unreadable"])]


def _ranks(numbers_: Sequence[int]) -> str:
    listed = ", ".join(str(rank) for rank in numbers_[:SHOWN_RANKS])
    more = f" and {len(numbers_) - SHOWN_RANKS} more" if len(numbers_) > SHOWN_RANKS else ""
    return f"Rank {listed}" if len(numbers_) == 1 else f"Ranks {listed}{more}"

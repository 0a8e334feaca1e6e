"""`gradwatch show FOLDER` in the terminal: a sentence about the ranks, and a row of each."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from gradwatch.reporters.show_ranks import ShownRank, ShowRanksReport

_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("rank", "right"),
    ("file", "left"),
    ("steps", "right"),
    ("loss", "right"),
    ("gradient norm", "right"),
    ("held", "right"),
    ("", "left"),
)


def show_ranks(report: ShowRanksReport, width: int) -> RenderableType:
    """Lay out `gradwatch show FOLDER`, `width` columns wide."""
    blank = Text("")
    steps = numbers.counted(len(report["common_steps"]), "step")
    made = page.table(*_COLUMNS)
    for row in report["ranks"]:
        name = page.shortened(PurePath(row["path"]).name, max(20, width // 3))
        marks = Text(" ").join([_state(row), Text("" if row["finished"] else "not finished", "dim")])
        loss, held = numbers.scalar(row["loss"]), numbers.size(row["held_bytes"])
        norm = page.gradient_cell(row["gradient_norm"])
        made.add_row(str(row["rank"]), name, numbers.count(row["steps"]), loss, norm, held, marks)
    parts: list[RenderableType] = [
        Group(Text(_sentence(report), "bold"), Text(f"{report['folder']}, {steps} in common", "dim")),
        blank,
        made,
        blank,
        *(Text(f"{glyphs.NOTICE} {each['reason']}", "yellow") for each in report["unreadable"]),
    ]
    if report["not_compared"] is not None:
        parts.append(Text(f"{glyphs.NOTICE} The ranks were not compared: {report['not_compared']}", "yellow"))
    folder = shlex.quote(report["folder"])
    parts.append(Text(f"gradwatch diff {folder} says where they part; gradwatch show FILE shows one.", "dim"))
    return Group(*parts)


def _state(row: ShownRank) -> Text:
    return Text("parts", "yellow") if row["parts"] else Text("")


def _sentence(report: ShowRanksReport) -> str:
    ranks = numbers.counted(len(report["ranks"]), "rank")
    parting = [str(row["rank"]) for row in report["ranks"] if row["parts"]]
    if report["not_compared"] is not None or len(report["ranks"]) == 1:
        return f"{ranks}."
    if not parting:
        return f"{ranks}; no difference is seen in their gradients as reduced."
    return f"{ranks}; {', '.join(parting)} {'is' if len(parting) == 1 else 'are'} unlike the others."

"""Findings in the terminal: what is wrong, the sentence, the line with its text, what it rests on, what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from gradwatch.reporters import glyphs, numbers, page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from gradwatch.records import Severity
    from gradwatch.reporters.findings_json import FindingRow, Place
    from gradwatch.reporters.json import WhyReport

MARKS: dict[Severity, tuple[str, str]] = {
    "error": (glyphs.GLYPHS["NaN"], "red"),
    "warning": (glyphs.NOTICE, "yellow"),
    "note": (glyphs.GLYPHS["finite"], "dim"),
}
"""Glyph and colour of each severity, the worst first."""

SHOWN_EVIDENCE = 6
SHOWN_IN_REPORT = 8
"""Findings in `gradwatch show`; `gradwatch why` has them all."""


def why(report: WhyReport, width: int) -> RenderableType:
    """Lay out `gradwatch why`, `width` columns wide."""
    rows = report["findings"]
    about = report["name"] or "This session"
    where = f" at step {report['step']}" if report["step"] is not None else ""
    head = page.heading(f"{about}{where}", tally(rows))
    if not rows:
        return Group(head, Text("  Nothing was found.", "dim"))
    return Group(head, Text(""), *_spaced(rows, width))


def section(rows: Sequence[FindingRow], command: str, width: int) -> RenderableType | None:
    """The part of `gradwatch show` that says what was found: the alarms whole, notes as one line each."""
    if not rows:
        return None
    shown = rows[:SHOWN_IN_REPORT]
    body: list[RenderableType] = []
    for row in shown:
        body += _brief(row, width - 2)
    left = len(rows) - len(shown)
    if left:
        body.append(Text(f"{left} more: {command}", "dim"))
    elif any(row["evidence"] or row["fix"] for row in rows):
        body.append(Text(f"What they rest on: {command}", "dim"))
    return page.section("Findings", tally(rows), *body)


def tally(rows: Sequence[FindingRow]) -> Text:
    """`1 error, 2 warnings, 3 notes`."""
    found = Counter(row["severity"] for row in rows)
    said = Text()
    for severity, (_, colour) in MARKS.items():
        if found[severity]:
            said.append(", " if said else "", "dim")
            said.append(numbers.counted(found[severity], severity), colour)
    return said


def _spaced(rows: Sequence[FindingRow], width: int) -> Iterator[RenderableType]:
    for row in rows:
        yield from _whole(row, width)
        yield Text("")


def _whole(row: FindingRow, width: int) -> list[RenderableType]:
    """Everything of one finding."""
    inner: list[RenderableType] = [Text(row["sentence"])]
    inner += [_line(place, width - 2) for place in (row["place"], row["other_place"]) if place is not None]
    inner += [Text(each, "dim") for each in row["evidence"][:SHOWN_EVIDENCE]]
    left = len(row["evidence"]) - SHOWN_EVIDENCE
    if left > 0:
        inner.append(Text(f"and {left} more lines: --json has them", "dim"))
    if row["fix"]:
        inner.append(_fix(row["fix"]))
    return [_title(row), *(Padding(part, (0, 0, 0, 2)) for part in inner)]


def _brief(row: FindingRow, width: int) -> list[RenderableType]:
    """The title with its line; of alarms the sentence and the fix too."""
    if row["severity"] == "note":
        return [_first_line(row, width)]
    inner: list[RenderableType] = [Text(row["sentence"])]
    inner += [_line(row["place"], width - 2)] if row["place"] is not None else []
    inner += [_fix(row["fix"])] if row["fix"] else []
    return [_title(row), *(Padding(part, (0, 0, 0, 2)) for part in inner)]


def _first_line(row: FindingRow, width: int) -> Text:
    mark, colour = MARKS[row["severity"]]
    said = Text.assemble((mark, colour), " ", row["title"])
    if row["place"] is not None:
        said.append(f"  {_label(row['place'])}", page.ACCENT)
    said.truncate(width, overflow="ellipsis")
    return said


def _title(row: FindingRow) -> Text:
    mark, colour = MARKS[row["severity"]]
    said = Text.assemble((mark, colour), " ", (row["title"], "bold"))
    if row["certainty"] != "measured":
        said.append(f"  {row['certainty']}", "dim")
    return said


def _line(place: Place, width: int) -> Text:
    """`train.py:12  loss = criterion(out.detach(), y)`, on one line."""
    label = _label(place)
    said = Text.assemble((label, page.ACCENT), "  ", page.cut(place["text"] or "", max(10, width - len(label) - 2)))
    said.no_wrap, said.overflow = True, "ignore"  # a place is there to be clicked: it stays whole
    return said


def _label(place: Place) -> str:
    return f"{place['file']}:{place['line']}"


def _fix(fix: str) -> Text:
    return Text.assemble(("Fix: ", "bold"), fix)

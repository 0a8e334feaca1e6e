"""Findings as HTML: each a fold with its title, open where it is an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.reporters import page
from gradwatch.reporters.html_marks import finding_glyph, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.reporters.findings_json import FindingRow, Place

SHOWN = 20
"""Findings that are laid out; the rest is counted."""


def findings(rows: Sequence[FindingRow], *, is_open: bool = False) -> str:
    """Lay findings out, the worst first. `is_open`: notes are open too, not alarms alone."""
    if not rows:
        return ""
    places = page.Places([place for row in rows for place in (row["place"], row["other_place"])])
    shown = "".join(_finding(row, places, is_open=is_open) for row in rows[:SHOWN])
    left = len(rows) - SHOWN
    more = f'<div class="gw-c">and {left} more: %gradwatch why</div>' if left > 0 else ""
    return f'<div class="gw-findings">{shown}{more}</div>'


def _finding(row: FindingRow, places: page.Places, *, is_open: bool) -> str:
    certainty = f' <span class="gw-d">{text(row["certainty"])}</span>' if row["certainty"] != "measured" else ""
    title = f"{finding_glyph(row['severity'])}<span><b>{text(row['title'])}</b>{certainty}</span>"
    body = [f"<div>{text(row['sentence'])}</div>"]
    body += [_line(place, places) for place in (row["place"], row["other_place"]) if place is not None]
    body += [f'<div class="gw-c">{text(each)}</div>' for each in row["evidence"]]
    body += [f"<div><b>Fix:</b> {text(row['fix'])}</div>"] if row["fix"] else []
    opened = " open" if is_open or row["severity"] != "note" else ""
    return f"<details{opened}><summary>{title}</summary>{''.join(body)}</details>"


def _line(place: Place, places: page.Places) -> str:
    where = f'<span class="gw-m gw-a" title="{text(place["file"])}">{text(places.name(place))}</span>'
    return f'<div class="gw-x">{where} <code>{text(place["text"] or "")}</code></div>'

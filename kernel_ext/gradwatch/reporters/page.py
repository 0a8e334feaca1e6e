"""The page that terminal reports are laid out on: where it goes, how wide it is, and the cells they share."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradwatch.reporters import glyphs, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import JustifyMethod, RenderableType

    from gradwatch.reporters.json import Place

ACCENT = "cyan"
TROUBLE = {"NaN": "red", "Inf": "red", "None": "yellow"}
PLAIN_WIDTH = 110
"""Columns of a report that goes to a file or a pipe."""

NARROWEST = 76


def write(lay_out: Callable[[int], RenderableType], stream: TextIO) -> None:
    """Write a report: coloured and as wide as the terminal, or plain and PLAIN_WIDTH wide.

    NO_COLOR and FORCE_COLOR are heeded; where `stream` does not take our characters, ASCII stands for them.
    """
    encodes = glyphs.can_encode(stream.encoding or "utf-8")
    console = Console(file=stream, highlight=False, markup=False, emoji=False, force_jupyter=False)
    if console.is_terminal and encodes:
        width = max(console.width, NARROWEST)
        console.print(lay_out(width), width=width, crop=False)
    else:
        text = plain_text(lay_out(PLAIN_WIDTH))
        stream.write(text if encodes else glyphs.to_ascii(text))


def plain_text(report: RenderableType, width: int = PLAIN_WIDTH) -> str:
    """Lay a report out without colour."""
    out = io.StringIO()
    # In a kernel rich would show the text itself, beside what it is asked for.
    plain = Console(
        file=out, width=width, color_system=None, highlight=False, markup=False, emoji=False, force_jupyter=False
    )
    plain.print(report, crop=False)
    return _without_trailing_spaces(out.getvalue())


def _without_trailing_spaces(text: str) -> str:
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def heading(title: str, remark: str | Text = "") -> Text:
    said = Text(remark, "dim") if isinstance(remark, str) else remark
    return Text.assemble((title, "bold"), "  " if said else "", said)


def section(title: str, remark: str | Text, *body: RenderableType) -> Group:
    return Group(heading(title, remark), *(Padding(part, (0, 0, 0, 2), expand=False) for part in body))


def table(*columns: tuple[str, JustifyMethod]) -> Table:
    """Make a table without lines: heads dim, two spaces between columns, nothing wraps."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    for head, justify in columns:
        made.add_column(head, justify=justify, no_wrap=True, overflow="ellipsis")
    return made


def gradient_cell(value: float | None, *, signed: bool = False) -> Text:
    """A gradient's number, exponent dim; `signed` leaves room for a minus, so that mantissas align."""
    written = numbers.gradient(value)
    mantissa, mark, exponent = written.partition("e")
    room = " " if signed and not written.startswith(numbers.MINUS) else ""
    return Text.assemble(room + mantissa, (mark + exponent, "dim"))


def curve_cell(values: Sequence[float | None], width: int, style: str, *, logarithmic: bool) -> Text:
    """Draw a sparkline in `style`; what is not finite is red in it."""
    nonfinite = (glyphs.GLYPHS["NaN"], glyphs.GLYPHS["Inf"])
    drawn = glyphs.sparkline(values, width, logarithmic=logarithmic)
    return Text.assemble(*((mark, TROUBLE["NaN"] if mark in nonfinite else style) for mark in drawn))


def bar_cell(fraction: float, width: int) -> Text:
    return Text(glyphs.bar(fraction, width), ACCENT)


def shortened(text: str, width: int) -> str:
    """Leave out the middle of a name that is longer than `width`."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return text[:head] + glyphs.ELLIPSIS + text[len(text) - (width - 1 - head) :]


def cut(text: str, width: int) -> str:
    """Leave out the end of a line that is longer than `width`."""
    return text if len(text) <= width else text[: width - 1] + glyphs.ELLIPSIS


class Places:
    """How the lines of one report are called: by file name, with the directory where two files share one."""

    def __init__(self, places: Sequence[Place | None]) -> None:
        files = {place["file"] for place in places if place}
        self._names = {file: _file_name(file, files) for file in files}

    def name(self, place: Place | None) -> str:
        return f"{self._names[place['file']]}:{place['line']}" if place else ""


def _file_name(file: str, files: set[str]) -> str:
    path = PurePath(file)
    twins = [other for other in files if PurePath(other).name == path.name]
    return path.name if len(twins) == 1 else f"{path.parent.name}/{path.name}"

"""What the programs beside it share: a stand-in for autograd's counter, and the truth about its lines.

`op("tag")` stands for an op that makes a node; its own line in the source is the truth.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gradwatch.capture.line_clock import LineClock
from gradwatch.capture.sites import SiteTable

if TYPE_CHECKING:
    from gradwatch.records import Site

tags: list[str] = []
op = tags.append
"""Makes one node. In C, like torch's ops: no Python frame of its own stands on the stack."""

table = SiteTable()
clock = LineClock(tags.__len__, table)
_sites: dict[int, Site] = {}


def place(key: int) -> tuple[str, int] | None:
    """Return file name and line of a raw key."""
    site = table.site(key)
    _sites.update({new.id: new for new in table.new_sites()})
    return (Path(_sites[site].file).name, _sites[site].line) if site >= 0 else None


def places(thread: int | None = None) -> dict[str, tuple[tuple[str, int] | None, tuple[str, int] | None]]:
    """Return user place and project place of each tag seen; a tag made twice must be at one place."""
    found: dict[str, tuple[tuple[str, int] | None, tuple[str, int] | None]] = {}
    for number, tag in enumerate(tags):
        user, project = clock.line_of(threading.get_ident() if thread is None else thread, number)
        both = place(user), place(project)
        assert found.setdefault(tag, both) == both, f"{tag} at {found[tag]} and at {both}"
    return found


def truth(file: str, text: str | None = None) -> dict[str, tuple[str, int]]:
    """Return the place of each tag that stands in a source text."""
    lines = (Path(file).read_text(encoding="utf-8") if text is None else text).splitlines()
    return {
        piece.split('"')[0]: (Path(file).name, number)
        for number, line in enumerate(lines, 1)
        for piece in line.split('op("')[1:]
    }


def check(file: str) -> None:
    """Assert that every node of a program stands at its own line, and that every tag in it was run."""
    assert clock.failure is None, clock.failure
    expected = {tag: (place, place) for tag, place in truth(file).items()}
    found = places()
    wrong = {tag: (found.get(tag), expected[tag]) for tag in expected if found.get(tag) != expected[tag]}
    assert not wrong, f"(found, expected): {wrong}"
    print(f"{len(tags)} nodes right")

"""A folder with session files in it: which they are, and what to say where one file is wanted."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAMED = 4
_REPLAY = re.compile(r"\.replay-\d+$")


def session_files(folder: Path) -> list[Path]:
    """Session files directly in a folder, by name, without the replays of steps that lie beside them."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == ".gradwatch" and path.is_file()]
    except OSError:  # it cannot be listed: nothing is known to be in it
        return []
    return sorted((path for path in found if not _REPLAY.search(path.stem)), key=_in_order)


def why_no_session(folder: Path) -> str:
    """Say why a folder is not a session, and which it holds."""
    files = session_files(folder)
    if not files:
        return "it is a directory"
    names = ", ".join(path.name for path in files[:_NAMED])
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    ranks = f", or compare its ranks: gradwatch diff {shlex.quote(str(folder))}" if len(files) > 1 else ""
    return f"it is a directory with {names}{more}. Name one of them{ranks}"


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Digits count as the number that they spell."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

"""Session -> lines of the user's source, as reports name and quote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.errors import UsageError

if TYPE_CHECKING:
    from gradwatch.reporters.json import Place
    from gradwatch.session.session import Session


class Quotes:
    """Lines of a session's source files by their label, "file.py:12"."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._files: dict[str, list[str]] = {}

    def place(self, label: str | None) -> Place | None:
        """Return the line; None for a label that names none, such as "(unknown line)"."""
        file, _, number = (label or "").rpartition(":")
        if not file or not number.isdigit():
            return None
        lines, line = self._lines(file), int(number)
        return {"file": file, "line": line, "text": lines[line - 1].strip() if 0 < line <= len(lines) else None}

    def _lines(self, file: str) -> list[str]:
        if file not in self._files:
            try:
                self._files[file] = self._session.source(file).splitlines()
            except UsageError:  # its text was not recorded
                self._files[file] = []
        return self._files[file]

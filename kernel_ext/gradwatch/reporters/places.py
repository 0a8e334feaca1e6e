"""Session -> lines of the user's source, as reports name and quote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.session.sources import LineTexts

if TYPE_CHECKING:
    from gradwatch.reporters.json import Place
    from gradwatch.session.session import Session


class Quotes:
    """Lines of a session's source files by their label, "file.py:12"."""

    def __init__(self, session: Session) -> None:
        self._texts = LineTexts(session)

    def place(self, label: str | None) -> Place | None:
        """Return the line; None for a label that names none, such as "(unknown line)"."""
        file, _, number = (label or "").rpartition(":")
        if label is None or not file or not number.isdigit():
            return None
        return {"file": file, "line": int(number), "text": self._texts.text(label)}

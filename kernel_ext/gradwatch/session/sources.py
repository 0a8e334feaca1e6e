"""The user's source as it was when it ran: sites, texts and lines."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.records import Site, Sites, SourceFile
from gradwatch.session.lookup import unknown_name

if TYPE_CHECKING:
    from gradwatch.session.reader import SessionReader
    from gradwatch.session.session import Session

_LINE_END = re.compile(r"\r\n|\r|\n")


def source_lines(text: str) -> list[str]:
    """Lines as Python counts them: a form feed, at which `str.splitlines` splits too, ends none."""
    return _LINE_END.split(text)


class Sources:
    """Sites by id and texts by file, as recorded."""

    def __init__(self, reader: SessionReader) -> None:
        self._directory = PurePath(reader.run.working_directory)
        self._sites = {site.id: site for record in reader.records(Sites) for site in record.sites}
        self.texts = {record.path: record.text for record in reader.records(SourceFile)}

    def site(self, number: int) -> Site:
        """Return the site with this id. Raises UsageError when there is none."""
        if number not in self._sites:
            raise UsageError(f"There is no source site {number} in this session, which has {len(self._sites)}.")
        return self._sites[number]

    def label(self, number: int) -> str | None:
        """Write a site as "file.py:12", relative to where the program was started; None for -1."""
        site = self._sites.get(number)
        return None if site is None else f"{self._short(site.file)}:{site.line}"

    def text(self, file: str) -> str:
        """Return a file's recorded text; `file` as recorded, or its end. Raises UsageError."""
        known = [path for path in self.texts if path == file] or [
            path for path in self.texts if PurePath(path).parts[-len(PurePath(file).parts) :] == PurePath(file).parts
        ]
        if len(known) != 1:
            raise unknown_name("source file" if not known else "single source file", file, known or self.texts)
        return self.texts[known[0]]

    def line_text(self, site: Site | int) -> str | None:
        """Return the text of a site's line without its indent; None when it was not recorded."""
        place = self.site(site) if isinstance(site, int) else site
        lines = source_lines(self.texts.get(place.file, ""))
        return lines[place.line - 1].strip() if 0 < place.line <= len(lines) else None

    def _short(self, file: str) -> str:
        path = PurePath(file)
        if self._directory.parts and path.is_relative_to(self._directory):
            return str(path.relative_to(self._directory))
        _, packages, inside = file.rpartition("site-packages/")
        return inside if packages else file


class LineTexts:
    """Texts of a session's lines by their label, "file.py:12"."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._files: dict[str, list[str]] = {}

    def text(self, label: str) -> str | None:
        """Return the line without its indent; None where it was not recorded."""
        file, _, number = label.rpartition(":")
        if not file or not number.isdigit():
            return None
        lines, line = self._lines(file), int(number)
        return lines[line - 1].strip() or None if 0 < line <= len(lines) else None

    def _lines(self, file: str) -> list[str]:
        if file not in self._files:
            try:
                self._files[file] = source_lines(self._session.source(file))
            except UsageError:  # its text was not recorded
                self._files[file] = []
        return self._files[file]

"""A session file whose bytes a page is given: by ranges, while it is written and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from gradwatch.errors import SessionNotFound, UsageError
from gradwatch.session.container import MAGIC

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

LARGEST_READ = 4 << 20
MOST_FILES = 1024


class SharedFile:
    """A file that is opened for each read, so that it can be deleted or moved meanwhile.

    Raises SessionNotFound where there is none, and UsageError once it is gone or another file took its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise SessionNotFound(path)
        self._identity = _identity(path.stat())

    def size(self) -> int:
        """Bytes of it now."""
        found = self._stat()
        self._check(found)
        return found.st_size

    def is_finished(self) -> bool:
        """Whether its last bytes are those that end a session."""
        size = self.size()
        return size > 2 * len(MAGIC) and self.read(size - len(MAGIC), len(MAGIC)) == MAGIC

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes, of which LARGEST_READ are given at most; fewer where the file ends."""
        with self._open() as file:
            file.seek(max(offset, 0))
            return file.read(max(0, min(length, LARGEST_READ)))

    def _stat(self) -> os.stat_result:
        try:
            return self.path.stat()
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is not there any more: what this panel has not read of it is gone."
            ) from None

    def _open(self) -> BinaryIO:
        self._check(self._stat())
        return self.path.open("rb")

    def _check(self, found: os.stat_result) -> None:
        if _identity(found) != self._identity:
            raise UsageError(f"{self.path} is another file now: it was overwritten. Open it again.")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def session_files(path: Path) -> Sequence[Path]:
    """Return a file alone, or the sessions in a folder. Raises UsageError for one without."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.gradwatch"))
    if not found:
        raise UsageError(f"There is no session in {path}: no file in it ends in .gradwatch.")
    if len(found) > MOST_FILES:
        raise UsageError(f"{path} holds {len(found)} sessions; one panel shows at most {MOST_FILES}.")
    return found

"""The session file as bytes on disk: opened without harm to what is there, appended to in whole writes."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from gradwatch.errors import RecordingError, SessionExists

_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class SessionFile:
    """Appends to one file; a write that fails is cut off again, so that the file ends in a whole record."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def append(self, data: bytes) -> None:
        """Write all of `data`, or nothing and raise OSError."""
        try:
            _write_all(self._descriptor, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor. There is no buffer of ours, so nothing is written."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def create_file(path: Path, head: bytes, *, overwrite: bool) -> SessionFile:
    """Create the file at `path` with `head` in it.

    With `overwrite` a file that is there is replaced only once its successor has been written.

    Raises SessionExists, or RecordingError when the file cannot be made.
    """
    _refuse_unfit(path, overwrite=overwrite)
    try:
        if overwrite:
            return _replace(Path(os.path.realpath(path)), head)
        return _create(path, head)
    except FileExistsError:
        raise SessionExists(path) from None
    except OSError as error:
        raise RecordingError(_why_not(path, error)) from error


def _refuse_unfit(path: Path, *, overwrite: bool) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise RecordingError(f"Cannot record to {path}: it is {what}.\nGive the name of a file, such as run.gradwatch.")
    if not overwrite:
        raise SessionExists(path)


def _create(path: Path, head: bytes) -> SessionFile:
    file = SessionFile(os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o666), 0)
    try:
        file.append(head)
    except OSError:
        file.close()
        path.unlink()
        raise
    return file


def _replace(path: Path, head: bytes) -> SessionFile:
    successor = path.with_name(f"{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        successor.unlink()
    _create(successor, head).close()
    try:
        successor.replace(path)
    except OSError:
        successor.unlink()
        raise
    return SessionFile(os.open(path, _APPEND), len(head))


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _why_not(path: Path, error: OSError) -> str:
    folder = path.parent
    if not folder.exists():
        return f"Cannot record to {path}: there is no directory {folder}.\nMake it first: mkdir -p {folder}"
    reason = error.strerror or str(error)
    return f"Cannot record to {path}: {reason[0].lower()}{reason[1:]}.\nChoose another place for the file."

"""Every error a user can meet. Each says what happened, with the value, and the way out.

GradwatchError
├── RecordingError            a recording cannot start, or was used out of order
│   └── MissingDependency     a package is absent that this needs
├── UsageError                a name or an option that does not fit
├── ExpectationFailed         a recording is not as a test expects it; also an AssertionError
└── SessionError              something about a session file; `.path` names it
    ├── SessionNotFound
    ├── SessionExists
    ├── NotASession
    ├── SessionVersionError
    └── SessionDamaged
"""

from __future__ import annotations

from pathlib import Path


class GradwatchError(Exception):
    """Base of all errors that gradwatch raises on purpose."""


class RecordingError(GradwatchError):
    """A recording cannot start, or was used out of order."""


class MissingDependency(RecordingError):
    """A package is absent that the request needs.

    `install` is what to type after `pip install`.
    """

    def __init__(self, what: str, package: str, install: str) -> None:
        super().__init__(f"{what} needs {package}, which is not installed.\nInstall it with: pip install {install}")


class UsageError(GradwatchError):
    """A name or an option that does not fit what it is used on."""


class ExpectationFailed(GradwatchError, AssertionError):
    """A recording is not as a test expects it. `path` is the session file that shows it."""

    def __init__(self, path: str | Path, message: str) -> None:
        super().__init__(message)
        self.path = Path(path)


class SessionError(GradwatchError):
    """Something is wrong with a session file."""

    def __init__(self, path: str | Path, message: str) -> None:
        super().__init__(message)
        self.path = Path(path)


class SessionNotFound(SessionError):
    """There is no file of that name."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, f"There is no file {path}.\nRecord one with: gradwatch run -o {path} train.py")


class SessionExists(SessionError):
    """The file is there already and was not to be overwritten."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            path,
            f"{path} is already there and was not overwritten.\n"
            "Choose another name, or overwrite it: --force on the command line, overwrite=True in Python.",
        )


class NotASession(SessionError):
    """The file does not begin as a session does."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            path,
            f"{path} is not a gradwatch session: {reason}.\n"
            "Sessions end in .gradwatch and come from gradwatch run or gradwatch.watch.",
        )


class SessionVersionError(SessionError):
    """The file was written in a format that this version does not read."""

    def __init__(self, path: str | Path, written_by: str, file_format: int, our_version: str, our_format: int) -> None:
        way_out = (
            "Upgrade with: pip install -U gradwatch"
            if file_format > our_format
            else f"Read it with: pip install gradwatch=={written_by}"
        )
        super().__init__(
            path,
            f"{path} was written by gradwatch {written_by} (format {file_format}); "
            f"this is {our_version} (format {our_format}).\n{way_out}",
        )


class SessionDamaged(SessionError):
    """The file is cut or corrupted in a way that leaves what was asked for unreadable."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(path, f"{path} is damaged: {what}.\nKeep what is whole with: gradwatch repair {path}")

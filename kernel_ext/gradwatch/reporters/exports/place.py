"""Where an export is written: beside its place first, moved there whole, and taken away when it fails."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradwatch.errors import GradwatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def place(path: Path, *, is_folder: bool, overwrite: bool) -> Generator[Path]:
    """Give a file or folder to write to, which becomes `path` when the block ends without an error.

    A folder that is there keeps its other files. Raises UsageError, or GradwatchError when it cannot be written.
    """
    _refuse_unfit(path, is_folder=is_folder, overwrite=overwrite)
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove(beside)  # of a process of that number that was killed
    try:
        if is_folder:
            beside.mkdir()
        yield beside
        _settle(beside, target, is_folder=is_folder)
    except OSError as error:
        raise GradwatchError(_why_not(path, error)) from error
    finally:
        _remove(beside)


def _refuse_unfit(path: Path, *, is_folder: bool, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise UsageError(f"{path} is already there and was not overwritten.\nName another with -o, or add --force.")
    if path.is_dir() != is_folder or not (path.is_dir() or path.is_file()):
        wanted, found = ("folder", "not one") if is_folder else ("file", "a folder" if path.is_dir() else "not one")
        raise UsageError(f"{path} cannot be overwritten: the export is a {wanted}, and that is {found}.")


def _settle(beside: Path, target: Path, *, is_folder: bool) -> None:
    if not is_folder or not target.exists():
        beside.replace(target)
        return
    for file in sorted(beside.iterdir()):
        file.replace(target / file.name)


def _remove(beside: Path) -> None:
    with suppress(OSError):
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink()


def _why_not(path: Path, error: OSError) -> str:
    if not path.absolute().parent.is_dir():
        return f"Cannot write {path}: there is no folder {path.parent}.\nMake it first: mkdir -p {path.parent}"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"Cannot write {path}: {reason[0].lower()}{reason[1:]}. Nothing of it was left.\n"
        "Name another place with -o, or fewer steps with --steps."
    )

"""The sessions of one run's ranks: the files of a folder, by the rank that each says it is of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradwatch.errors import SessionError, UsageError
from gradwatch.session.folder import session_files
from gradwatch.session.reader import SessionReader

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file of a folder that cannot be opened, and why, in one line."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class RankFiles:
    """The session files of a folder: paths by rank, ascending, and those that cannot be opened."""

    folder: Path
    paths: dict[int, Path]
    unreadable: list[UnreadableFile] = field(default_factory=list[UnreadableFile])


@dataclass(frozen=True, slots=True)
class RankPair:
    """Two ranks to compare: of two folders the same, of one folder each with the lowest."""

    rank_a: int
    rank_b: int
    path_a: Path
    path_b: Path


def rank_files(folder: Path) -> RankFiles:
    """Find the ranks in a folder. Each file says in its first record which it is of; names do not matter.

    Raises UsageError where the folder holds no session, or two of one rank.
    """
    found: dict[int, Path] = {}
    unreadable: list[UnreadableFile] = []
    for path in session_files(folder):
        try:
            with SessionReader(path) as reader:
                rank = reader.run.rank
        except SessionError as error:
            unreadable.append(UnreadableFile(path, str(error).partition("\n")[0]))
            continue
        if rank in found:
            raise UsageError(
                f"{folder} holds more than one recording of rank {rank}: {found[rank].name} and {path.name}.\n"
                "Keep the files of one run in a folder of their own, or name the two files to compare."
            )
        found[rank] = path
    if not found:
        raise UsageError(_why_none(folder, unreadable))
    return RankFiles(folder, dict(sorted(found.items())), unreadable)


def pairs_of(a: RankFiles, b: RankFiles | None) -> list[RankPair]:
    """Pair ranks by number; those of one folder with its lowest. Raises UsageError where there is no pair."""
    if b is None:
        lowest, *others = a.paths
        pairs = [RankPair(lowest, rank, a.paths[lowest], a.paths[rank]) for rank in others]
    else:
        pairs = [RankPair(rank, rank, a.paths[rank], b.paths[rank]) for rank in a.paths if rank in b.paths]
    if not pairs:
        raise UsageError(_why_no_pair(a, b))
    return pairs


def _why_none(folder: Path, unreadable: list[UnreadableFile]) -> str:
    if not unreadable:
        return f"{folder} holds no session file. Sessions end in .gradwatch and come from gradwatch run or watch."
    return f"{folder} holds no session that can be opened. {unreadable[0].reason}"


def _why_no_pair(a: RankFiles, b: RankFiles | None) -> str:
    if b is None:
        return (
            f"There is nothing to compare rank {next(iter(a.paths))} with: {a.folder} holds no other rank.\n"
            "Name another folder, or two session files."
        )
    return f"{a.folder} and {b.folder} have no rank in common: {_listed(a)} against {_listed(b)}."


def _listed(files: RankFiles) -> str:
    return ", ".join(str(rank) for rank in files.paths)

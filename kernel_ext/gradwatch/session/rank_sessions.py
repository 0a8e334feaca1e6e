"""The sessions of all ranks of one run, read side by side."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import UsageError
from gradwatch.session.compare import compare
from gradwatch.session.local_ranks import first_troubled, local_gradients_of
from gradwatch.session.ranks import UnreadableFile, rank_files
from gradwatch.session.session import Session

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from typing_extensions import Self

    from gradwatch.records import Finding
    from gradwatch.session.compare_tolerance import Tolerance
    from gradwatch.session.held import HeldView


class RankSessions:
    """The sessions of a folder, one a rank. Iterating goes through them by rank; `ranks[3]` is the one of rank 3.

    `steps` are the numbers of the steps that every rank has whole (int64), `unreadable` files that cannot be opened.
    Close it, or use it in a `with` block. `find` as in Session. Raises UsageError where the folder holds no session,
    or two of one rank.
    """

    def __init__(
        self, folder: str | os.PathLike[str], find: Callable[[Session], tuple[Finding, ...]] | None = None
    ) -> None:
        files = rank_files(Path(folder))
        self.folder = files.folder
        self.unreadable: list[UnreadableFile] = files.unreadable
        self._opened = ExitStack()
        self.sessions: dict[int, Session] = {}
        try:
            for rank, path in files.paths.items():
                self.sessions[rank] = self._opened.enter_context(Session(path, find))
        except BaseException:
            self.close()
            raise

    @property
    def ranks(self) -> list[int]:
        """The numbers of the ranks that are there, ascending."""
        return list(self.sessions)

    @cached_property
    def steps(self) -> NDArray[np.int64]:
        whole = [{step.number for step in session.steps if step.complete} for session in self]
        return np.array(sorted(set[int].intersection(*whole)), dtype=np.int64)

    def gradient(self, name: str, *, local: bool = False) -> NDArray[np.float64]:
        """Return the norm of a gradient, float64 (ranks, steps); NaN where a rank has none at a step.

        `local`: each rank's own, before reduction. Raises UsageError with near matches for a name that no rank has.
        """
        rows = [self._norms(session, name, local=local) for session in self]
        if all(row is None for row in rows):
            next(iter(self)).gradient(name, local=local)  # says what there is
        absent = np.full(len(self.steps), np.nan)
        return np.stack([absent if row is None else row for row in rows])

    def held(self, step: int) -> dict[int, HeldView]:
        """Return what each rank held for backward in a step. Raises UsageError for a step that is not there."""
        return {rank: session.held(step) for rank, session in self.sessions.items()}

    def ranks_that_part(self, tolerance: Tolerance | None = None) -> list[int]:
        """Return the ranks that are unlike the others.

        Whose own gradients stopped being finite first, before reduction handed that on; and whose parameters'
        gradients are not those of the lowest rank. Raises UsageError where ranks cannot be compared.
        """
        local = {rank: local_gradients_of(session) for rank, session in self.sessions.items()}
        parting = set(first_troubled(local))
        lowest, *others = self.ranks
        for rank in others:
            found = compare(self.sessions[lowest], self.sessions[rank], tolerance=tolerance, ranks=True)
            if found.parts:
                parting.add(rank)
        return sorted(parting)

    def _norms(self, session: Session, name: str, *, local: bool) -> NDArray[np.float64] | None:
        """One rank's norms at `steps`; None where it has no such parameter, as in a pipeline."""
        try:
            series = session.gradient(name, local=local)
        except UsageError:
            return None
        norms = np.full(len(self.steps), np.nan)
        common = np.isin(series.steps, self.steps)
        norms[np.searchsorted(self.steps, series.steps[common])] = series.norm[common]
        return norms

    def close(self) -> None:
        """Close all files."""
        self._opened.close()

    def __iter__(self) -> Iterator[Session]:
        return iter(self.sessions.values())

    def __len__(self) -> int:
        return len(self.sessions)

    def __getitem__(self, rank: int) -> Session:
        if rank not in self.sessions:
            listed = ", ".join(map(str, self.ranks))
            raise UsageError(f"{self.folder} holds no session of rank {rank}. It has: {listed}.")
        return self.sessions[rank]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<gradwatch sessions of {len(self)} ranks in {self.folder}: {len(self.steps)} steps in common>"

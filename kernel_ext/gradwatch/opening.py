"""The door to what can be read: a session file, or the graph behind a tensor that is alive."""

from __future__ import annotations

import os
import sys
from collections import ChainMap
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from gradwatch.session.rank_sessions import RankSessions
    from gradwatch.session.session import Session


@overload
def open(what: str | os.PathLike[str], *, ranks: Literal[True]) -> RankSessions: ...  # noqa: A001  # as below
@overload
def open(what: str | os.PathLike[str] | Any, *, ranks: Literal[False] = False) -> Session: ...  # noqa: A001  # as below
def open(what: str | os.PathLike[str] | Any, *, ranks: bool = False) -> Session | RankSessions:  # noqa: A001  # gradwatch.open is the public name
    """Open a session file, finished or not; or read the graph behind a tensor, with no recording.

    A folder gives the sessions of all ranks in it, side by side; `ranks=True` says so to type checkers too.

    A tensor (or a tuple, list or dict of them) gives a session of one step, number 0, whose `graph(0)` and
    `held(0)` are those of the backward call that is still to come. A file needs no torch.

    Raises a SessionError that says what is wrong with the file, or UsageError where a tensor has no graph,
    or a folder no session.
    """
    if isinstance(what, (str, os.PathLike)):
        from pathlib import Path  # noqa: PLC0415  # as below

        from gradwatch.findings.all import find  # noqa: PLC0415  # importing gradwatch loads nothing heavy
        from gradwatch.session.rank_sessions import RankSessions  # noqa: PLC0415  # as above
        from gradwatch.session.session import Session  # noqa: PLC0415  # as above

        path = str(os.fspath(what))  # pyright: ignore[reportUnknownArgumentType]  # isinstance says less than the annotation
        if ranks or Path(path).is_dir():
            return RankSessions(path, lambda session: find(session).findings)
        return Session(path, lambda session: find(session).findings)
    from gradwatch.capture.late import snapshot  # noqa: PLC0415  # loads torch
    from gradwatch.capture.names import readable_locals  # noqa: PLC0415  # as above

    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # names of models and inputs
    with readable_locals(frame) as names:
        return snapshot(what, names=ChainMap(dict(names), frame.f_globals))

"""The door to what can be read: a session file, or the graph behind a tensor that is alive."""

from __future__ import annotations

import os
import sys
from collections import ChainMap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradwatch.session.session import Session


def open(what: str | os.PathLike[str] | Any) -> Session:  # noqa: A001  # gradwatch.open is the public name
    """Open a session file, finished or not; or read the graph behind a tensor, with no recording.

    A tensor (or a tuple, list or dict of them) gives a session of one step, number 0, whose `graph(0)` and
    `held(0)` are those of the backward call that is still to come. A file needs no torch.

    Raises a SessionError that says what is wrong with the file, or UsageError where a tensor has no graph.
    """
    if isinstance(what, (str, os.PathLike)):
        from gradwatch.findings.all import find  # noqa: PLC0415  # importing gradwatch loads nothing heavy
        from gradwatch.session.session import Session  # noqa: PLC0415  # as above

        return Session(os.fspath(what), lambda session: find(session).findings)
    from gradwatch.capture.late import snapshot  # noqa: PLC0415  # loads torch
    from gradwatch.capture.names import readable_locals  # noqa: PLC0415  # as above

    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # names of models and inputs
    with readable_locals(frame) as names:
        return snapshot(what, names=ChainMap(dict(names), frame.f_globals))

"""The user's line behind a call, read from the stack: one look per module call or saved tensor.

For Python before 3.12, where there is no line clock, and wherever a single place is asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gradwatch.capture.origins import MACHINERY, PROJECT
from gradwatch.capture.sites import CALL, UNKNOWN

if TYPE_CHECKING:
    from types import FrameType

    from gradwatch.capture.origins import Origins
    from gradwatch.capture.sites import SiteTable


current_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]  the only cheap way to a frame
frames_of_threads = sys._current_frames  # pyright: ignore[reportPrivateUsage]  and to other threads'


def innermost_frame(origins: Origins, frame: FrameType | None, least: int) -> FrameType | None:
    """Return the first frame from `frame` outwards that is LIBRARY or PROJECT code (or PROJECT alone)."""
    while frame is not None and origins[frame.f_code.co_filename] < least:
        frame = frame.f_back
    return frame


class CallSites:
    """Finds the innermost user call and the innermost project call of a stack."""

    def __init__(self, table: SiteTable) -> None:
        self._table = table
        self._origins = table.origins
        self._project_keys = table.project_keys

    def here(self, depth: int = 1) -> tuple[int, int]:
        """Return `at` for the frame `depth` above the caller; 0 is the caller itself."""
        return self.at(current_frame(depth + 1))

    def at(self, frame: FrameType | None) -> tuple[int, int]:
        """Return raw keys for SiteTable: of the innermost user call from `frame` outwards, and the project's.

        Both are the same where the innermost user code is the project's; UNKNOWN where there is none.
        """
        origins, origin = self._origins, MACHINERY
        while frame is not None and (origin := origins[frame.f_code.co_filename]) == MACHINERY:
            frame = frame.f_back
        if frame is None:
            return UNKNOWN, UNKNOWN
        code = frame.f_code
        if origin == PROJECT:  # the hot way, for each module call: no call into Python
            key = self._project_keys.get(id(code))
            if key is None:
                key = self._table.code_key(code)
            key += CALL + frame.f_lasti
            return key, key
        project = innermost_frame(origins, frame, PROJECT)
        return self._key(frame), UNKNOWN if project is None else self._key(project)

    def _key(self, frame: FrameType) -> int:
        return self._table.code_key(frame.f_code) + CALL + frame.f_lasti

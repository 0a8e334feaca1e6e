"""The line clock: which user line was running when autograd handed out a sequence number (Python >= 3.12).

`sys.monitoring` reports lines of user code only; each notes autograd's number, so that a node, which
carries its number, finds its line later without any hook on it. Standard library only.

A node gets the line of the last line event before it was made: of an expression over several lines that
is the line of the operator or call that the interpreter was at.
"""

from __future__ import annotations

import threading
import traceback
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from gradwatch.capture.lines import current_frame, frames_of_threads, innermost_frame
from gradwatch.capture.monitoring import claim_tool, monitoring
from gradwatch.capture.origins import LIBRARY, MACHINERY, PROJECT
from gradwatch.capture.sites import LINE_OF_INSTRUCTION, UNKNOWN
from gradwatch.capture.timeline import Timeline
from gradwatch.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    import numpy as np
    import numpy.typing as npt

    from gradwatch.capture.sites import SiteTable

MAX_THREADS = 256

_BEFORE_ALL = -(1 << 63)
"""Below every number that an int64 holds."""


def _guarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Keep errors of a callback from the program in whose frames it runs. See NOTE [Errors of callbacks]."""

    @wraps(callback)
    def guarded(clock: LineClock, *event: Any) -> object:
        try:
            return callback(clock, *event)
        except RecursionError:
            return None
        except Exception as error:
            if not clock._absorb(error):  # pyright: ignore[reportPrivateUsage]  part of the class
                raise
            return None

    return guarded


# NOTE [Errors of callbacks]
# What a callback raises is raised in the program. An error of ours switches the clock off. Three are not ours:
# - an exception of the program's own signal handler (an alarm, Ctrl-C) that ran while we did: it goes through;
# - RecursionError: the program is near its limit and will meet it itself, or turn back. One event is lost, and
#   nothing may be called to handle it;
# - after stop(), a callback that was still under way on another thread: it is dropped.


class LineClock:
    """Notes the running line of each thread against `counter`, autograd's next sequence number there.

    `counter` and `thread_key` answer for the calling thread. No error of the clock reaches the program:
    at the first one the clock switches itself off, and `failure` says why.
    """

    def __init__(
        self,
        counter: Callable[[], int],
        table: SiteTable,
        thread_key: Callable[[], int] = threading.get_ident,
    ) -> None:
        self.failure: str | None = None
        """The traceback of the error that switched the clock off."""
        self._counter = counter
        self._table = table
        self._thread_key = thread_key
        self._origins = table.origins
        self._project_keys = table.project_keys
        self._library_keys = table.library_keys
        self._one_line_codes: set[int] = set()
        self._timelines: dict[int, Timeline] = {}
        self._tool: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether lines are being noted now."""
        return self._tool is not None and self.failure is None

    def start(self) -> None:
        """Begin to note lines, also those of functions that are running already.

        Other threads' lines are known from their next event on. Raises RecordingError when Python is older
        than 3.12, when all tool ids are taken, or when it is running already.
        """
        if self._tool is not None:
            raise RecordingError("The line clock is running already. Call stop() before it is started again.")
        self._monitoring = monitoring()
        self._disable = self._monitoring.DISABLE
        self._tool = claim_tool(self._monitoring)
        self.failure = None
        try:
            self._switch_on(self._tool)
            self._return_to(current_frame(1), left_project=True)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it: no event, callback or tool id of ours is left. Does nothing when it is not running.

        Lines that other threads are at are given up: what they will still run is no longer seen.
        """
        tool, self._tool = self._tool, None
        if tool is None:
            return
        self._switch_off(tool)
        for event in self._callbacks():
            self._monitoring.register_callback(tool, event, None)
        self._monitoring.free_tool_id(tool)
        if self.failure is None:
            self._timeline_at(self._counter())
        self._give_up_running_lines()

    def threads(self) -> list[int]:
        """Return the keys of the threads whose lines are known."""
        return list(self._timelines)

    def line_of(self, thread: int, number: int) -> tuple[int, int]:
        """Return the raw keys of one node's user line and project line; UNKNOWN where not known."""
        timeline = self._timelines.get(thread)
        entries = timeline.covering(number, number) if timeline else []
        return entries[-1][1:] if entries else (UNKNOWN, UNKNOWN)

    def resolve(
        self, thread: int, sequence_numbers: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return raw keys of user lines and of project lines, one per number (int64, UNKNOWN where not known).

        `thread` is the key of the thread that made the nodes: each counts for itself. Negative numbers
        (AccumulateGrad has none of its own) are unknown.
        """
        import numpy as np  # noqa: PLC0415  the clock itself needs the standard library alone

        entries = [(_BEFORE_ALL, UNKNOWN, UNKNOWN)]
        timeline = self._timelines.get(thread)
        if timeline is not None and len(sequence_numbers):
            entries += timeline.covering(int(sequence_numbers.min()), int(sequence_numbers.max()))
        columns: npt.NDArray[np.int64] = np.array(entries, dtype=np.int64)
        index = np.searchsorted(columns[:, 0], sequence_numbers, side="right") - 1
        return columns[index, 1], columns[index, 2]

    def forget(self, thread: int, before: int) -> None:
        """Drop what is known of the thread's nodes numbered below `before`."""
        timeline = self._timelines.get(thread)
        if timeline is not None:
            timeline.forget(before)

    # --- callbacks: on the program's threads, between its instructions ---

    def _callbacks(self) -> dict[int, Callable[..., object]]:
        events = self._monitoring.events
        return {
            events.LINE: self._on_line,
            events.PY_START: self._on_start,
            events.PY_RESUME: self._on_resume,
            events.PY_THROW: self._on_throw,
            events.PY_RETURN: self._on_leave,
            events.PY_YIELD: self._on_leave,
            events.PY_UNWIND: self._on_unwind,
        }

    def _on_line(self, code: CodeType, line: int) -> None:
        """Note a line. The hot one: guarded and written out in place, without a call into Python."""
        try:
            timeline = self._timelines.get(self._thread_key()) or self._new_timeline()
            number = self._counter()
            if number != timeline.start:
                timeline.advance(number)
            key = self._project_keys.get(id(code))
            if key is not None:
                timeline.user = timeline.project = key + line
            else:
                timeline.user = (self._library_keys.get(id(code)) or self._table.code_key(code)) + line
        except RecursionError:
            return
        except Exception as error:
            if not self._absorb(error):
                raise

    @_guarded
    def _on_start(self, code: CodeType, offset: int) -> object:
        if self._origins[code.co_filename] == MACHINERY or not self._starts_on_its_line(code, offset):
            return self._disable
        self._resume_at(code, offset)
        return None

    @_guarded
    def _on_resume(self, code: CodeType, offset: int) -> object:
        if self._origins[code.co_filename] == MACHINERY:
            return self._disable
        self._resume_at(code, offset)
        return None

    @_guarded
    def _on_throw(self, code: CodeType, offset: int, _error: BaseException) -> None:
        if self._origins[code.co_filename] != MACHINERY:
            self._resume_at(code, offset)

    @_guarded
    def _on_leave(self, code: CodeType, _offset: int, _value: object) -> None:
        caller = current_frame(2).f_back  # 0 is this, 1 the guard, 2 the frame that ends
        self._return_to(caller, left_project=id(code) in self._project_keys)

    @_guarded
    def _on_unwind(self, code: CodeType, _offset: int, _error: BaseException) -> None:
        """Return to the caller's line: C code may swallow the error there, and no line event follows."""
        if self._origins[code.co_filename] != MACHINERY:
            caller = current_frame(2).f_back  # as above
            self._return_to(caller, left_project=id(code) in self._project_keys)

    def _return_to(self, frame: FrameType | None, *, left_project: bool) -> None:
        """Make the line at which the innermost user frame stands the running one.

        The frames are asked each time: a shadow stack of our own would drift. Between library frames the
        project's line stays as it is.
        """
        timeline = self._timeline_at(self._counter())
        user = innermost_frame(self._origins, frame, LIBRARY)
        timeline.user = self._line_key(user)
        if user is None or id(user.f_code) in self._project_keys:
            timeline.project = timeline.user
        elif left_project:
            timeline.project = self._line_key(innermost_frame(self._origins, user, PROJECT))

    def _resume_at(self, code: CodeType, offset: int) -> None:
        if not self._is_known(code):
            self._watch(code)  # a generator that was begun before the clock
        timeline = self._timeline_at(self._counter())
        timeline.user = self._table.code_key(code) + LINE_OF_INSTRUCTION + offset
        if id(code) in self._project_keys:
            timeline.project = timeline.user

    def _line_key(self, frame: FrameType | None) -> int:
        if frame is None:
            return UNKNOWN
        return self._table.code_key(frame.f_code) + LINE_OF_INSTRUCTION + frame.f_lasti

    def _timeline_at(self, number: int) -> Timeline:
        timeline = self._timelines.get(self._thread_key()) or self._new_timeline()
        if number != timeline.start:
            timeline.advance(number)
        return timeline

    def _new_timeline(self) -> Timeline:
        """Begin the calling thread's timeline; of too many, forget those of threads that have ended."""
        if len(self._timelines) >= MAX_THREADS:
            alive = frames_of_threads()
            for ended in [key for key in self._timelines if key not in alive][: MAX_THREADS // 2]:
                self._timelines.pop(ended, None)
        timeline = self._timelines[self._thread_key()] = Timeline(self._counter())
        return timeline

    # --- what is watched ---

    def _starts_on_its_line(self, code: CodeType, offset: int) -> bool:
        """Watch user code that starts; return whether its first line goes without a line event.

        Python 3.13 reports no line where the body of a function stands on the line of its RESUME, as in a lambda.
        """
        address = id(code)
        if address in self._one_line_codes and self._is_known(code):
            return True
        self._watch(code)
        if _body_is_on_first_line(code, offset):
            self._one_line_codes.add(address)
            return True
        self._one_line_codes.discard(address)  # it was the address of a code object that has died
        return False

    def _is_known(self, code: CodeType) -> bool:
        return id(code) in self._project_keys or id(code) in self._library_keys

    def _watch(self, code: CodeType) -> None:
        """Switch the events of one user code object on."""
        tool = self._tool
        if tool is not None:
            self._table.code_key(code)
            events = self._monitoring.events
            self._monitoring.set_local_events(tool, code, events.LINE | events.PY_RETURN | events.PY_YIELD)

    def _switch_on(self, tool: int) -> None:
        for event, callback in self._callbacks().items():
            self._monitoring.register_callback(tool, event, callback)
        # Functions that an earlier clock on this tool id met have answered DISABLE. Python 3.12 and 3.13 forget
        # that when local events change, as stop() does; nothing promises it.
        self._monitoring.restart_events()
        events = self._monitoring.events
        self._monitoring.set_events(tool, events.PY_START | events.PY_RESUME | events.PY_THROW | events.PY_UNWIND)
        self._watch_running_frames()

    def _watch_running_frames(self) -> None:
        """Watch functions that were entered before, and those an earlier clock knew."""
        for known in self._table.codes():
            if self._table.is_user_code(known):
                self._watch(known)
        for innermost in frames_of_threads().values():
            frame = innermost_frame(self._origins, innermost, LIBRARY)
            while frame is not None:
                self._watch(frame.f_code)
                frame = innermost_frame(self._origins, frame.f_back, LIBRARY)

    # --- the end ---

    def _switch_off(self, tool: int) -> None:
        self._monitoring.set_events(tool, 0)
        for code in self._table.codes():
            if self._monitoring.get_local_events(tool, code):
                self._monitoring.set_local_events(tool, code, 0)

    def _give_up_running_lines(self) -> None:
        for timeline in list(self._timelines.values()):
            timeline.give_up()

    def _absorb(self, error: Exception) -> bool:
        """Switch the clock off after an error of its own; return False when the error is the program's."""
        if self._is_foreign(error):
            return False
        tool = self._tool
        if tool is not None and self.failure is None:
            self.failure = "".join(traceback.format_exception(error))
            self._give_up_running_lines()
            with suppress(Exception):
                self._switch_off(tool)
        return True

    def _is_foreign(self, error: Exception) -> bool:
        """Return whether the error was raised in the program's code: by a signal handler during a callback."""
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        return self._origins[frame.f_code.co_filename] != MACHINERY


def _body_is_on_first_line(code: CodeType, offset: int) -> bool:
    """Return whether code follows the RESUME at `offset` on the same line."""
    return any(start <= offset < end - 2 for start, end, _ in code.co_lines())

"""Sends a page the bytes of session files, also of those that grow, from a thread of its own.

Nothing here may hurt the training that goes on beside it: no error leaves the thread, and what it sends is bounded in
size and in pace.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradwatch.errors import GradwatchError
from gradwatch.notebook.shared_file import LARGEST_READ, SharedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Send = Callable[[dict[str, Any], list[bytes]], None]

INTERVAL_S = 0.1
IDLE_INTERVAL_S = 0.5
IDLE_AFTER_S = 5.0
"""Without growth for so long, a file is looked at less often."""

MOST_PUSHED = 16 << 20
"""Of a finished file so much is sent unasked; the rest when the page asks."""

TAIL = 1 << 20
"""Where the index of a finished file stands."""

RESENT_AFTER_S = (1.0, 4.0)
"""A page that is still loading misses what is sent, and cannot say so while the kernel is busy."""


@dataclass
class _Position:
    """How far one file was sent.

    `announced`: the page knows the size of a finished file. `complete`: there is nothing more to send unasked.
    """

    sent: int = 0
    size: int = 0
    finished: bool = False
    announced: bool = False
    complete: bool = False


class Feed:
    """Sends `files`, one message at a time and at most ten a second, until they are finished and sent.

    `send` is told a message and its buffers; `is_open` whether there is still someone to send to.
    """

    def __init__(self, files: Sequence[SharedFile], send: Send, is_open: Callable[[], bool]) -> None:
        self._files = files
        self._send = send
        self._is_open = is_open
        self._positions = [_Position() for _ in files]
        self._resend_at: list[float] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._running = False

    def start(self) -> None:
        """Begin sending, as long as no page has said that it hears: more than once."""
        now = time.monotonic()
        self._resend_at = [now + after for after in RESENT_AFTER_S]
        self._run_thread()

    def heard(self, sizes: Sequence[int]) -> None:
        """Go on from where a page stands that hears what is sent; -1: it knows nothing of that file."""
        with self._lock:
            self._resend_at = []
            for position, known in zip(self._positions, sizes, strict=False):
                position.sent = max(0, min(known, position.sent))
                position.announced = position.announced and known >= 0
                position.complete = False
        self._run_thread()

    def stop(self) -> None:
        """End the thread; the message that is under way is the last."""
        self._stopped.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended; whether it has."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run_thread(self) -> None:
        with self._lock:
            if self._stopped.is_set() or self._running:
                return
            thread = threading.Thread(target=self._serve, name="gradwatch-panel", daemon=True)
            # pydevd leaves threads with this mark running when it suspends the others.
            thread.pydev_do_not_trace = True  # type: ignore[attr-defined]  # pydevd's own attribute
            thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]  # as above
            with contextlib.suppress(RuntimeError):  # near the interpreter's end there are no new threads
                thread.start()
                self._thread, self._running = thread, True

    def _serve(self) -> None:
        try:
            self._feed()
        except Exception as error:  # noqa: BLE001  # whatever it is, the training goes on
            self._running = False
            self._say(f"The panel is not live any more: {_sentence(error)}")

    def _feed(self) -> None:
        grown_at = time.monotonic()
        while self._is_open() and not self._is_done():
            self._resend_if_due()
            if self._send_next():
                grown_at = time.monotonic()
            idle = time.monotonic() - grown_at > IDLE_AFTER_S
            if self._stopped.wait(IDLE_INTERVAL_S if idle else INTERVAL_S):
                return

    def _is_done(self) -> bool:
        with self._lock:
            done = not self._resend_at and all(position.complete for position in self._positions)
            self._running = not done
            return done

    def _resend_if_due(self) -> None:
        with self._lock:
            if self._resend_at and time.monotonic() >= self._resend_at[0]:
                self._resend_at.pop(0)
                self._positions[:] = [_Position() for _ in self._files]

    def _send_next(self) -> bool:
        """Send one message of the file that is furthest behind; whether there was one."""
        for index in sorted(range(len(self._files)), key=lambda index: self._positions[index].sent):
            with self._lock:
                message = self._next_message(index, self._files[index])
            if message is not None:
                self._send(*message)
                return True
        return False

    def _next_message(self, index: int, file: SharedFile) -> tuple[dict[str, Any], list[bytes]] | None:
        position = self._positions[index]
        size = file.size()
        if size != position.size and not position.finished:
            position.finished = file.is_finished()
        position.size = size
        is_large = position.finished and size > MOST_PUSHED
        if is_large and not position.announced:
            position.announced = True
            return _bytes(index, size - TAIL, size, file.read(size - TAIL, TAIL))
        end = MOST_PUSHED if is_large else size
        if position.sent >= end:
            position.complete = position.finished
            return None
        offset = position.sent
        read = file.read(offset, min(LARGEST_READ, end - offset))
        position.sent = offset + len(read)
        whole = position.finished and not is_large and position.sent >= size
        position.announced = position.announced or whole
        position.complete = whole
        # A page reads a finished file from its end, so it waits for all of it; one that grows it reads as it comes.
        known = -1 if position.finished and not whole else position.sent
        return _bytes(index, offset, known, read)

    def _say(self, text: str) -> None:
        with contextlib.suppress(Exception):
            self._send({"type": "notice", "text": text}, [])


def _bytes(file: int, offset: int, size: int, read: bytes) -> tuple[dict[str, Any], list[bytes]]:
    return {"type": "bytes", "file": file, "offset": offset, "size": size}, [read]


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, GradwatchError | OSError) else f"{type(error).__name__}: {error}"

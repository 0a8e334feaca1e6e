"""The door for notebooks: `SessionWidget(path)` shows a session in the page of the editor, live while it is written.

Needs anywidget (`pip install gradwatch[notebook]`), which is loaded with this module and by nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from pathlib import Path
from typing import Any, cast

from gradwatch.errors import GradwatchError, MissingDependency
from gradwatch.notebook.feed import Feed
from gradwatch.notebook.shared_file import LARGEST_READ, SharedFile, session_files

try:
    import traitlets
    from anywidget import AnyWidget
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("anywidget", "traitlets"):
        raise
    raise MissingDependency("The panel in a notebook", "anywidget", "gradwatch[notebook]") from None

STATIC = Path(__file__).parent / "static"


class SessionWidget(AnyWidget):  # pyright: ignore[reportUntypedBaseClass, reportUnknownVariableType]  # as its stubs are
    """A session in a notebook's output. `others` are sessions to compare with, `step` is where to begin.

    `path` is a file, or a folder with the files of ranks. Close it with `close()`.

    Raises SessionNotFound, UsageError for a folder without sessions, and GradwatchError where the page was not built.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    name = traitlets.Unicode().tag(sync=True)
    files = cast("Any", traitlets.List()).tag(sync=True)
    at = traitlets.Int(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, path: str | Path, *others: str | Path, step: int | None = None) -> None:
        shown = session_files(Path(path))
        beside = [file for other in others for file in session_files(Path(other))]
        self._path = Path(path)
        self._shared = [SharedFile(file) for file in (*shown, *beside)]
        listed = [
            {"name": file.path.name, "place": str(file.path), "other": index >= len(shown)}
            for index, file in enumerate(self._shared)
        ]
        self._feed: Feed | None = None
        super().__init__(
            _esm=_built("widget.js"),
            _css=_built("widget.css"),
            key=uuid.uuid4().hex,
            name=self._path.name,
            files=listed,
            at=step,
        )
        untyped: Any = self
        untyped.on_msg(self._receive)
        self._feed = Feed(self._shared, self._tell, self._is_open)
        self._feed.start()

    def __repr__(self) -> str:
        return f"gradwatch panel of {self._path.name}"

    def rest(self) -> None:
        """Send nothing unasked any more."""
        if self._feed is not None:
            self._feed.stop()

    def close(self) -> None:
        """Take the panel out of the notebook, and end what keeps it live."""
        self.rest()
        super().close()

    def _is_open(self) -> bool:
        return self.comm is not None

    def _tell(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        untyped: Any = self
        untyped.send(message, buffers)
        _unpin(untyped.comm)

    def _receive(self, _: Any, content: Any, __: Any) -> None:
        """Answer the page, on the kernel's thread or on one of its subshells."""
        message = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        with contextlib.suppress(Exception):  # a page that says nonsense gets no answer
            if message.get("type") == "ready" and self._feed is not None:
                self._feed.heard([int(size) for size in message["sizes"]])
            elif message.get("type") == "read":
                self._answer(int(message["file"]), int(message["offset"]), int(message["length"]))

    def _answer(self, file: int, offset: int, length: int) -> None:
        about = {"file": file, "offset": offset}
        if not 0 <= file < len(self._shared):
            return
        try:
            read = self._shared[file].read(offset, min(length, LARGEST_READ))
        except (GradwatchError, OSError) as error:
            self._tell({"type": "failed", **about, "reason": str(error)}, [])
        else:
            self._tell({"type": "bytes", **about, "size": -1}, [read])


def _unpin(comm: Any) -> None:
    """Let the page reach a busy kernel: ipykernel 7.4 binds what it says to the subshell that sent last.

    The attribute is private, so it is taken away where it is found; other versions have none.
    """
    with contextlib.suppress(AttributeError):
        del comm._reply_subshell_id  # noqa: SLF001  # there is no public way


def _built(name: str) -> str:
    try:
        return _text(STATIC / name, (STATIC / name).stat().st_mtime_ns)
    except FileNotFoundError:
        raise GradwatchError(
            f"The panel was not built: {STATIC / name} is not there.\nIn a source checkout build it with: make widget"
        ) from None


@functools.cache
def _text(path: Path, _: int) -> str:
    """Read a file once for all panels, and again when it was built again."""
    return path.read_text(encoding="utf-8")

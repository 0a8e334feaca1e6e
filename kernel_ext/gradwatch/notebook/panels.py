"""The panels that a shell has shown, and the picture that stands beside each where nothing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.display import display  # pyright: ignore[reportUnknownVariableType]  # untyped

from gradwatch.errors import GradwatchError
from gradwatch.notebook.shared_file import session_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradwatch.widget import SessionWidget


class Panels:
    """The panels of one shell. Where there is no notebook, or no anywidget, there are pictures only."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._shown: list[SessionWidget] = []
        self._pictures: list[tuple[Path, Any]] = []
        self._said: set[str] = set()

    def show(self, path: Path, other: Path | None = None, step: int | None = None) -> ShownPanel | None:
        """Show a session, and another to compare with. Where that cannot be, say why once, and return None."""
        if getattr(self._shell, "kernel", None) is None:
            return None
        try:
            from gradwatch.widget import SessionWidget  # noqa: PLC0415  # loads anywidget

            panel = SessionWidget(path, *([] if other is None else [other]), step=step)
            handle = display(panel, display_id=True)
        except Exception as error:  # noqa: BLE001  # whatever widgets do here, the cell runs and its picture is shown
            self._say_once(_sentence(error))
            return None
        self._shown.append(panel)
        return ShownPanel(panel, handle)

    def show_picture(self, path: Path, picture: dict[str, str], *, is_live: bool) -> None:
        """Show a picture, to be renewed if what it is of goes on."""
        handle: Any = display(picture, raw=True, display_id=True)  # pyright: ignore[reportUnknownVariableType]  # untyped
        if is_live and handle is not None:
            self._pictures.append((path, handle))

    def renew_picture(self, path: Path, draw: Callable[[], dict[str, str]]) -> None:
        """Draw the pictures of a session again, which has ended."""
        for _, handle in [pair for pair in self._pictures if pair[0] == path]:
            handle.update(draw(), raw=True)
        self._pictures = [pair for pair in self._pictures if pair[0] != path]

    def rest(self) -> None:
        """Let no panel send anything unasked any more."""
        for panel in self._shown:
            panel.rest()
        self._shown.clear()

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            print(sentence)
        self._said.add(sentence)


def _sentence(error: Exception) -> str:
    if isinstance(error, GradwatchError):
        return str(error)
    return f"The panel could not be shown: {type(error).__name__}: {error}"


class ShownPanel:
    """A panel in a cell's output."""

    def __init__(self, panel: SessionWidget, handle: Any) -> None:
        self._panel = panel
        self._handle = handle

    def replace(self, shown: dict[str, str]) -> None:
        """Put something else in its place."""
        self._handle.update(shown, raw=True)
        self._panel.close()


def first_file(path: Path) -> Path:
    """Return the file itself, or the first rank of a folder. Raises UsageError for a folder without sessions."""
    return session_files(path)[0]

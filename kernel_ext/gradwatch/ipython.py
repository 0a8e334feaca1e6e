"""The door for IPython: `%load_ext gradwatch` and `%unload_ext gradwatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.errors import MissingDependency

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Add `%gradwatch` and `%%gradwatch` to a shell. Does nothing where they are already.

    Raises MissingDependency where IPython is not installed.
    """
    try:
        from gradwatch.notebook import magics  # noqa: PLC0415  # IPython is loaded for the magics only
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "IPython":
            raise
        raise MissingDependency("%load_ext gradwatch", "IPython", "gradwatch[notebook]") from None
    magics.register(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the magics out of a shell, and stop the recording that they started."""
    try:
        from gradwatch.notebook import magics  # noqa: PLC0415  # as above
    except ModuleNotFoundError:  # then there is nothing to take out
        return
    magics.unregister(ipython)

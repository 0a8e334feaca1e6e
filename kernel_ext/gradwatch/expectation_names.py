"""How expectations name things: patterns of names, and limits in bytes."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeVar

from gradwatch.errors import UsageError
from gradwatch.session.lookup import unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.session.lookup import NamedSequence

_UNITS = {"B": 1} | {
    f"{prefix}{unit}": base ** (power + 1)
    for power, prefix in enumerate("KMGT")
    for unit, base in (("iB", 1024), ("B", 1000))
}
_SIZE = re.compile(r"(\d[\d_,]*(?:\.\d+)?)\s*([A-Za-z]*)")


class Named(Protocol):
    """What has a name, as a parameter or module of a session."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...


V = TypeVar("V", bound=Named)


def matching(views: NamedSequence[V], patterns: Sequence[str], what: str) -> list[V]:
    """Return what matches any of the patterns, in its own order. Raises UsageError for one that matches nothing."""
    for pattern in patterns:
        if not any(_matches(view, pattern) for view in views):
            raise unknown_name(what, pattern, views.names)
    return [view for view in views if any(_matches(view, pattern) for pattern in patterns)]


def bytes_of(limit: str | int) -> int:
    """Read a limit: bytes, or "1.5 GiB". Raises UsageError."""
    if isinstance(limit, int):
        return limit
    match = _SIZE.fullmatch(limit.strip())
    unit = (match[2] or "B") if match else ""
    factor = next((size for name, size in _UNITS.items() if name.lower() == unit.lower()), None)
    if match is None or factor is None:
        raise UsageError(f'{limit!r} is no size. Write bytes, or a number and a unit: "300 MB", "1.5 GiB".')
    return round(float(match[1].replace(",", "").replace("_", "")) * factor)


def _matches(view: Named, pattern: str) -> bool:
    """Match a name, or the path inside of its model. The name of a module stands for what is in it."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for name in (view.name, view.path))

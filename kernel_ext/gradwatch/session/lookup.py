"""Sequences over a session: made of views on demand, and found by name with help for what was mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar, overload

from gradwatch.errors import UsageError

V = TypeVar("V")

_LISTED = 8


def unknown_name(what: str, name: object, known: Iterable[str]) -> UsageError:
    """Make the error for a name that is not there: it offers what is near, else what there is."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6) or [n for n in names if str(name) in n][:3]
    if near:
        way_out = f"Did you mean {' or '.join(repr(entry) for entry in near)}?"
    elif not names:
        way_out = "This session has none."
    else:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        way_out = f"There is {', '.join(names[:_LISTED])}{more}."
    return UsageError(f"There is no {what} {name!r} in this session. {way_out}")


class LazySequence(Sequence[V], Generic[V]):
    """A sequence whose entries are made when they are asked for. A slice is a list."""

    def __init__(self, length: int, make: Callable[[int], V]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> list[V]: ...
    def __getitem__(self, index: int | slice) -> V | list[V]:
        if isinstance(index, slice):
            return [self._make(position) for position in range(*index.indices(self._length))]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            raise IndexError(f"there are {self._length} entries, {index} is not among them")
        return self._make(position)

    def __repr__(self) -> str:
        return f"<{self._length} entries>"


class NamedSequence(Sequence[V], Generic[V]):
    """Views by position, slice or name. `other_names` are found too, but not listed.

    Raises UsageError, with near matches, at a name that is not there.
    """

    def __init__(self, what: str, names: Sequence[str], views: Sequence[V], other_names: dict[str, V]) -> None:
        self._what = what
        self._views = views
        self._by_name = {**other_names, **dict(zip(names, views, strict=True))}
        self.names = list(names)

    def __len__(self) -> int:
        return len(self._views)

    def __contains__(self, entry: object) -> bool:
        return entry in self._by_name if isinstance(entry, str) else entry in self._views

    @overload
    def __getitem__(self, index: int | str) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> list[V]: ...
    def __getitem__(self, index: int | str | slice) -> V | list[V]:
        if isinstance(index, str):
            if index not in self._by_name:
                raise unknown_name(self._what, index, self.names)
            return self._by_name[index]
        return list(self._views[index]) if isinstance(index, slice) else self._views[index]

    def __repr__(self) -> str:
        return f"<{len(self)} {self._what}s: {', '.join(self.names[:_LISTED])}{', ...' * (len(self) > _LISTED)}>"

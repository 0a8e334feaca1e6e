"""Notices that a recording tells once, however often there is reason to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.records import NoticeKind


def once(tell: Callable[[Notice], None]) -> Callable[[NoticeKind, str], None]:
    """What tells each text once."""
    told: set[str] = set()

    def tell_once(kind: NoticeKind, text: str) -> None:
        if text not in told:
            told.add(text)
            tell(Notice(kind, text))

    return tell_once


def say_nothing(_kind: NoticeKind, _text: str) -> None:
    """Where nobody is told."""

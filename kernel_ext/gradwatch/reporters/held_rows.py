"""Session -> what a backward call held, in rows of label and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.records import TENSOR_CLASSES
from gradwatch.reporters.places import Quotes
from gradwatch.session.held import HELD_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.reporters.json import HeldKey, HeldRows, HeldSummary
    from gradwatch.session.held import HeldView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView


def held_summary(session: Session, backward: BackwardView, keys: Sequence[HeldKey]) -> HeldSummary:
    """Say what `backward` held, split by each of `keys`.

    Raises UsageError where it was not recorded.
    """
    held = backward.held
    return {
        "step": backward.step,
        "backward": backward.index,
        "call": backward.call,
        "total_bytes": held.total_bytes,
        "peak_bytes": held.peak_bytes,
        "class_bytes": dict(held.class_bytes),
        "curve_source": held.curve_source,
        "release_source": held.release_source,
        "unobserved": backward.unobserved,
        "by": [_rows(session, held, key) for key in keys],
    }


def held_if_recorded(session: Session, backward: BackwardView, keys: Sequence[HeldKey]) -> HeldSummary | None:
    try:
        return held_summary(session, backward, keys)
    except UsageError:
        return None


def _rows(session: Session, held: HeldView, key: HeldKey) -> HeldRows:
    parts = held.by(key, TENSOR_CLASSES if key == "class" else HELD_CLASSES)
    total = sum(size for _, size in parts) or 1
    quotes = Quotes(session)
    return {
        "key": key,
        "rows": [
            {
                "label": label,
                "bytes": size,
                "fraction": size / total,
                "place": quotes.place(label) if key == "line" else None,
            }
            for label, size in parts
        ],
    }

"""What two backward calls held, side by side: lines are the same where their text is, wherever they moved to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradwatch.session.sources import LineTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradwatch.session.compare_graphs import CallPair
    from gradwatch.session.compare_names import NamePairs
    from gradwatch.session.session import Session

    Row = tuple[str, int]
    Key = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class HeldChange:
    """Bytes under one label: None and 0 where one side has nothing there. `text` is the line's, where known."""

    label_a: str | None
    label_b: str | None
    bytes_a: int
    bytes_b: int
    text: str | None = None

    @property
    def delta(self) -> int:
        return self.bytes_b - self.bytes_a


@dataclass(frozen=True, slots=True)
class HeldDifference:
    """Bytes held when one backward call began, in both sessions; rows with the largest change first."""

    at: CallPair
    total_a: int
    total_b: int
    peak_a: int | None
    peak_b: int | None
    by_line: list[HeldChange]
    by_module: list[HeldChange]


def held_difference(a: Session, b: Session, at: CallPair, names: NamePairs) -> HeldDifference:
    """Compare what one call held. Raises UsageError where it was not recorded in both."""
    held_a, held_b = a.held(at.step_a, at.backward), b.held(at.step_b, at.backward)
    text_a, text_b = LineTexts(a).text, LineTexts(b).text
    modules_b = {view.id: view.name for view in b.modules}
    renamed = {
        view.name: modules_b[names.module.second_of[view.id]] for view in a.modules if view.id in names.module.second_of
    }
    line_keys: list[tuple[Key, Key]] = [
        (lambda label: (label, text_a(label)), lambda label: (label, text_b(label))),
        (lambda label: text_a(label) or ("first", label), lambda label: text_b(label) or ("second", label)),
        (str, str),
    ]
    by_line = _paired(held_a.by("line"), held_b.by("line"), line_keys)
    return HeldDifference(
        at,
        held_a.total_bytes,
        held_b.total_bytes,
        held_a.peak_bytes,
        held_b.peak_bytes,
        [_change(row, other, text_a, text_b) for row, other in by_line],
        [
            _change(row, other)
            for row, other in _paired(
                held_a.by("module"), held_b.by("module"), [(lambda name: renamed.get(name, name), str)]
            )
        ],
    )


def _paired(
    rows_a: Sequence[Row], rows_b: Sequence[Row], keys: Sequence[tuple[Key, Key]]
) -> list[tuple[Row | None, Row | None]]:
    """Pair rows by the first key that both have, then by the next; the largest change first."""
    free_a, free_b = list(rows_a), list(rows_b)
    pairs: list[tuple[Row | None, Row | None]] = []
    for key_a, key_b in keys:
        waiting: dict[object, list[Row]] = {}
        for row in reversed(free_b):
            waiting.setdefault(key_b(row[0]), []).append(row)
        left: list[Row] = []
        taken: set[str] = set()
        for row in free_a:
            others = waiting.get(key_a(row[0]))
            if others:
                other = others.pop()
                pairs.append((row, other))
                taken.add(other[0])
            else:
                left.append(row)
        free_a, free_b = left, [row for row in free_b if row[0] not in taken]
    pairs += [(row, None) for row in free_a] + [(None, row) for row in free_b]
    return sorted(pairs, key=lambda pair: -abs((pair[1] or ("", 0))[1] - (pair[0] or ("", 0))[1]))


def _change(
    row: Row | None,
    other: Row | None,
    text_a: Callable[[str], str | None] | None = None,
    text_b: Callable[[str], str | None] | None = None,
) -> HeldChange:
    text = text_b(other[0]) if text_b and other else text_a(row[0]) if text_a and row else None
    return HeldChange(
        row[0] if row else None, other[0] if other else None, row[1] if row else 0, other[1] if other else 0, text
    )

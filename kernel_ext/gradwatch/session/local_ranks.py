"""Which rank's own gradients, before reduction, stopped being finite first: reduction hands them on to all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.session.reader import LATE_STEPS

if TYPE_CHECKING:
    from gradwatch.session.session import Session


@dataclass(frozen=True, slots=True)
class LocalTrouble:
    """A gradient that was NaN or Inf on this rank before reduction: the first of its call that backward met."""

    step: int
    backward: int
    name: str
    nan: int
    inf: int

    @property
    def when(self) -> tuple[int, int]:
        return self.step, self.backward


@dataclass(frozen=True, slots=True)
class LocalGradientsOfRank:
    """What a session says about its rank's own gradients; `seen` is how many backward calls had any."""

    seen: int
    trouble: LocalTrouble | None


def local_gradients_of(session: Session, steps: set[int] | None = None) -> LocalGradientsOfRank:
    """Look through a session, or some of its steps, for the first gradient of its rank's own that is not finite."""
    seen, trouble = 0, None
    for rows in session.gradient_records("local"):
        if trouble is not None and rows.step > trouble.step + LATE_STEPS:
            break
        if steps is not None and rows.step not in steps:
            continue
        seen += 1
        bad = np.flatnonzero((rows.nan > 0) | (rows.inf > 0))
        if len(bad) and (trouble is None or (rows.step, int(rows.backward[0])) < trouble.when):
            first = int(bad[0])  # rows stand as backward reached them
            counts = (max(0, int(rows.nan[first])), max(0, int(rows.inf[first])))
            trouble = LocalTrouble(rows.step, int(rows.backward[first]), rows.names[first], *counts)
    return LocalGradientsOfRank(seen, trouble)


def first_troubled(found: dict[int, LocalGradientsOfRank]) -> list[int]:
    """The ranks whose gradients stopped being finite in the earliest call that any did, where others' were finite."""
    troubles = {rank: each.trouble for rank, each in found.items() if each.trouble is not None}
    if not troubles:
        return []
    earliest = min(trouble.when for trouble in troubles.values())
    first = [rank for rank, trouble in troubles.items() if trouble.when == earliest]
    with_local = [rank for rank, each in found.items() if each.seen]
    return first if len(first) < len(with_local) else []

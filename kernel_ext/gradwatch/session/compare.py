"""Compare two sessions, two ranks, or two steps of one session: `compare(a, b)`.

Aligned by step number; parameters, modules and module outputs by root and path; nodes by place in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradwatch.errors import UsageError
from gradwatch.session.compare_curves import drawn, loss_parting, norms_of
from gradwatch.session.compare_graphs import CallPair, GraphDifference
from gradwatch.session.compare_held import HeldDifference, held_difference
from gradwatch.session.compare_names import paired_names, unsharded_names
from gradwatch.session.compare_notes import (
    RANKS_NOTE,
    left_out,
    sharded,
    too_many,
    unlike_calls,
    unlike_scaling,
    unread,
    why_not_compared,
)
from gradwatch.session.compare_partings import Partings
from gradwatch.session.compare_result import MOST_LISTED, Comparison
from gradwatch.session.compare_steps import (
    Calls,
    ComparedRows,
    StepComparer,
    last_of_each,
    nothing_like,
    paired_records,
)
from gradwatch.session.compare_tolerance import EXACT, Tolerance

if TYPE_CHECKING:
    from gradwatch.records import Gradients, SubjectKind
    from gradwatch.session.compare_curves import Norms
    from gradwatch.session.compare_result import GradientParting
    from gradwatch.session.compare_steps import StepRecords
    from gradwatch.session.session import Session

__all__ = ["EXACT", "Comparison", "Tolerance", "compare"]

KINDS: tuple[SubjectKind, ...] = ("node", "module", "parameter")
"""From the finest to the coarsest: where gradients part is said by the finest that both sessions have."""

_COMPARED_GRAPHS = 64


def compare(
    a: Session,
    b: Session,
    *,
    steps: tuple[int, int] | None = None,
    tolerance: Tolerance | None = None,
    ranks: bool = False,
) -> Comparison:
    """Compare two open sessions, which may be one; `steps` are those to compare, one of each, instead of all.

    `ranks`: they are different ranks. Each has its own part of the batch, so losses and the gradients of
    module outputs and nodes are not compared: only those of parameters, which the ranks average.

    Raises UsageError for a step that is not there, or where there is nothing to compare.
    """
    alignment = _aligned(a, b, steps)
    work = _Work(a, b, alignment, tolerance or Tolerance(), ranks=ranks)
    for first, second, records_a, records_b in paired_records(a, b, alignment.pairs):
        work.take(first, second, records_a, records_b)
    return work.comparison()


@dataclass(frozen=True, slots=True)
class _Alignment:
    """Pairs of steps, by number or `chosen`, and the steps of one side alone. `cut_short` tells of such steps."""

    pairs: list[tuple[int, int]]
    only_a: list[int] = field(default_factory=list[int])
    only_b: list[int] = field(default_factory=list[int])
    cut_short: list[str] = field(default_factory=list[str])
    chosen: bool = False


def _aligned(a: Session, b: Session, steps: tuple[int, int] | None) -> _Alignment:
    if steps is not None:
        views = (a.step(steps[0]), b.step(steps[1]))
        cut = [
            f"Step {view.number} of {session.path.name} was cut short: compared as far as it goes."
            for session, view in zip((a, b), views, strict=True)
            if not view.complete
        ]
        return _Alignment([steps], cut_short=cut, chosen=True)
    whole = [[step.number for step in session.steps if step.complete] for session in (a, b)]
    shared = set(whole[0]) & set(whole[1])
    common = sorted(shared)
    if not common:
        raise UsageError(
            f"{a.path.name} and {b.path.name} have no whole step in common. {_lengths(a, b)}\n"
            "Name a step of each: --step N:M on the command line, steps=(N, M) in Python."
        )
    return _Alignment(
        [(step, step) for step in common],
        [step for step in whole[0] if step not in shared],
        [step for step in whole[1] if step not in shared],
    )


def _lengths(a: Session, b: Session) -> str:
    return " ".join(f"{session.path.name}: {session.steps.range_text}" for session in (a, b))


class _Work:
    """One comparison under way: takes in one pair of steps after the other."""

    def __init__(
        self, a: Session, b: Session, alignment: _Alignment, tolerance: Tolerance, *, ranks: bool = False
    ) -> None:
        self._a, self._b = a, b
        self._ranks = ranks
        self._alignment = alignment
        only = [[pair[side] for pair in alignment.pairs] if alignment.chosen else None for side in (0, 1)]
        self._calls = Calls(a, only[0]), Calls(b, only[1])
        names, self._sharded = unsharded_names(a, b) if ranks else (paired_names(a, b), [])
        self._comparer = StepComparer(a, b, names, tolerance)
        self._compared: dict[SubjectKind, int] = dict.fromkeys(KINDS, 0)
        self._gradients: GradientParting | None = None
        self._norms: list[Norms] = []

    def take(self, step_a: int, step_b: int, records_a: StepRecords, records_b: StepRecords) -> None:
        """Compare one pair of steps: every kind until gradients have parted, then parameters only."""
        found: dict[SubjectKind, list[ComparedRows]] = {kind: [] for kind in KINDS}
        for kind in KINDS if self._gradients is None and not self._ranks else KINDS[-1:]:
            for pair in self._pairs(kind, records_a, records_b):
                rows = self._rows(kind, pair)
                if rows is not None:
                    found[kind].append(rows)
                    self._compared[kind] += len(rows.match.a)
        self._norms.append(norms_of(found["parameter"]))
        if self._gradients is None and any(rows.parts for each in found.values() for rows in each):
            self._gradients = Partings(self._comparer, self._calls).at(step_a, step_b, found)

    def comparison(self) -> Comparison:
        a, b, steps = self._a, self._b, self._alignment.pairs
        curves = drawn((a, b), self._calls, steps, self._norms)
        both = zip(curves.loss_a, curves.loss_b, strict=True)
        losses = not self._ranks and any(x is not None and y is not None for x, y in both)
        if not (losses or any(self._compared.values()) or self._gradients or self._sharded):
            raise UsageError(f"There is nothing to compare: {a.path} and {b.path} share no gradient and no loss.")
        graph = self._graph_difference()
        return Comparison(
            a=a,
            b=b,
            tolerance=self._comparer.tolerance,
            steps=steps,
            only_steps_a=self._alignment.only_a,
            only_steps_b=self._alignment.only_b,
            names=self._comparer.names,
            compared=self._compared,
            curves=curves,
            loss=None if self._ranks else loss_parting(curves, self._comparer.tolerance),
            gradients=self._gradients,
            graph=graph,
            held=self._held_difference(),
            notes=[
                *self._alignment.cut_short,
                *([] if self._alignment.chosen else left_out((a, b))),
                *([RANKS_NOTE, *sharded(self._sharded)] if self._ranks else why_not_compared((a, b), self._compared)),
                *unlike_calls(steps, self._calls),
                *unlike_scaling((a, b), steps),
                *too_many(self._gradients, graph),
                *self._comparer.too_large,
                *unread((a, b)),
            ],
        )

    def _pairs(
        self, kind: SubjectKind, records_a: StepRecords, records_b: StepRecords
    ) -> list[tuple[Gradients, Gradients]]:
        """Records of the same call. One that reached no parameter has no record to say so, unless some are lost."""
        if self._ranks:
            records_a = last_of_each(records_a, self._a.path)
            records_b = last_of_each(records_b, self._b.path)
        found: list[tuple[Gradients, Gradients]] = []
        whole = kind == "parameter" and not (self._a.gaps or self._b.gaps or self._alignment.cut_short)
        for call in sorted({call for each, call in (*records_a, *records_b) if each == kind}):
            first, second = records_a.get((kind, call)), records_b.get((kind, call))
            if first is None and second is not None and whole:
                first = nothing_like(second)
            elif second is None and first is not None and whole:
                second = nothing_like(first)
            if first is not None and second is not None:
                found.append((first, second))
        return found

    def _rows(self, kind: SubjectKind, pair: tuple[Gradients, Gradients]) -> ComparedRows | None:
        first, second = pair
        graphs = (self._calls[0].graph(first.step, first.backward), self._calls[1].graph(second.step, second.backward))
        return self._comparer.rows((kind, first.backward), pair, graphs)

    def _common_calls(self) -> list[CallPair]:
        return [
            CallPair(first, second, call)
            for first, second in self._alignment.pairs
            for call in sorted(set(self._calls[0].of_step.get(first, [])) & set(self._calls[1].of_step.get(second, [])))
        ]

    def _graph_difference(self) -> GraphDifference | None:
        """Return the first pair of graphs that differ, of the first _COMPARED_GRAPHS distinct pairs."""
        firsts: dict[tuple[int, int], CallPair] = {}
        for call in self._common_calls():
            graphs = tuple(
                calls.graph(step, call.backward)
                for calls, step in zip(self._calls, (call.step_a, call.step_b), strict=True)
            )
            if min(graphs) >= 0:
                firsts.setdefault((graphs[0], graphs[1]), call)
        for graphs, call in list(firsts.items())[:_COMPARED_GRAPHS]:
            pair = self._comparer.graph_pair(*graphs)
            difference = pair.difference(call, MOST_LISTED) if pair else None
            if difference and difference.differs:
                return difference
        return None

    def _held_difference(self) -> HeldDifference | None:
        """Compare the last step whose ledgers both recorded, and of its calls the one that held most."""
        recorded = [
            call
            for call in self._common_calls()
            if self._calls[0].ledger(call.step_a, call.backward) >= 0
            and self._calls[1].ledger(call.step_b, call.backward) >= 0
        ]
        last = [call for call in recorded if call.step_a == recorded[-1].step_a]
        if not last:
            return None
        most = max(last, key=lambda call: self._calls[0].held_bytes(call.step_a, call.backward))
        try:
            return held_difference(self._a, self._b, most, self._comparer.names)
        except UsageError:  # the ledger itself is lost
            return None

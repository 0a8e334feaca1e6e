"""The gradients that part at one pair of steps, in the order in which backward reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.session import compare_result
from gradwatch.session.compare_graphs import CallPair, node_of
from gradwatch.session.compare_result import GradientParting, NodeParting, Parting
from gradwatch.session.compare_tolerance import gaps_of_row

if TYPE_CHECKING:
    from gradwatch.records import SubjectKind
    from gradwatch.session.compare_graphs import GraphPair
    from gradwatch.session.compare_steps import Calls, ComparedRows, StepComparer

    Found = dict[SubjectKind, list[ComparedRows]]
    Place = tuple[int, int | None, int | None]


class Partings:
    """Tells what parts in the rows of one pair of steps."""

    def __init__(self, comparer: StepComparer, calls: tuple[Calls, Calls]) -> None:
        self._comparer = comparer
        self._names = comparer.names
        self._calls = calls

    def at(self, step_a: int, step_b: int, found: Found) -> GradientParting:
        unlisted = 0

        def of(kind: SubjectKind) -> list[Parting]:
            nonlocal unlisted
            listed: list[Parting] = []
            for rows in sorted(found[kind], key=lambda rows: rows.backward):
                at = CallPair(step_a, step_b, rows.backward)
                more, left_out = self._of_rows(rows, at, compare_result.MOST_LISTED - len(listed))
                listed += more
                unlisted += left_out
            return listed

        nodes, modules, parameters = of("node"), of("module"), of("parameter")
        return GradientParting(step_a, step_b, nodes, modules, parameters, unlisted)

    def _of_rows(self, rows: ComparedRows, at: CallPair, room: int) -> tuple[list[Parting], int]:
        """Tell of `room` partings at most; also how many are left out."""
        graphs = self._comparer.graph_pair(
            self._calls[0].graph(at.step_a, at.backward), self._calls[1].graph(at.step_b, at.backward)
        )
        order = _backward_order(rows, graphs)
        places = sorted([*_parted(rows), *self._one_sided(rows)], key=lambda place: order.get(place[0], len(order)))
        agreeing = set(rows.a.subjects[rows.match.a[~rows.gaps.parts]].tolist())
        call = _Call(rows, at, graphs, agreeing)
        return [self._one(call, place) for place in places[:room]], max(0, len(places) - room)

    def _one_sided(self, rows: ComparedRows) -> list[Place]:
        """Subjects that a gradient reached on one side only."""
        if not rows.one_sided:
            return []
        at_a = {subject: place for place, subject in enumerate(rows.a.subjects.tolist())}
        at_b = {subject: place for place, subject in enumerate(rows.b.subjects.tolist())}
        first_of = {second: first for first, second in self._names.of(rows.kind).second_of.items()}
        only_a: list[Place] = [(subject, at_a[subject], None) for subject in rows.match.only_a.tolist()]
        return only_a + [(first_of[subject], None, at_b[subject]) for subject in rows.match.only_b.tolist()]

    def _one(self, call: _Call, place: Place) -> Parting:
        rows, (subject, place_a, place_b) = call.rows, place
        a = None if place_a is None else rows.a.row(place_a)
        b = None if place_b is None else rows.b.row(place_b)
        gaps = [] if a is None or b is None else gaps_of_row(a, b, self._comparer.tolerance)
        if rows.kind == "node" and call.graphs is not None:
            where = _where(call.graphs, subject, call.agreeing)
            return Parting(call.at, "node", where.a.name, where.b.name, a, b, gaps, where)
        other = self._names.of(rows.kind).second_of[subject]
        name_a = self._comparer.a.names.subject_name(rows.kind, subject)
        name_b = self._comparer.b.names.subject_name(rows.kind, other)
        return Parting(call.at, rows.kind, name_a, name_b, a, b, gaps)


@dataclass(frozen=True, slots=True)
class _Call:
    """Rows of one kind of one call, the graphs behind them, and the subjects that do not part."""

    rows: ComparedRows
    at: CallPair
    graphs: GraphPair | None
    agreeing: set[int]


def _where(graphs: GraphPair, node: int, agreeing: set[int]) -> NodeParting:
    """Tell where a node stands in both graphs, and whether its gradient parts there first."""
    other = graphs.second_of[node]
    givers_a, givers_b = graphs.givers_a.get(node, []), graphs.givers_b.get(other, [])
    same = {graphs.second_of.get(giver) for giver in givers_a} == set(givers_b)
    return NodeParting(
        node_of(graphs.a, node),
        node_of(graphs.b, other),
        [node_of(graphs.a, giver) for giver in givers_a],
        [node_of(graphs.b, giver) for giver in givers_b],
        same_givers=same,
        givers_agree=same and all(giver in agreeing for giver in givers_a),
    )


def _parted(rows: ComparedRows) -> list[Place]:
    """Subjects whose statistics part: id in the first session, row in each."""
    match, positions = rows.match, np.flatnonzero(rows.gaps.parts)
    places_a, places_b = match.a[positions], match.b[positions]
    return list(zip(rows.a.subjects[places_a].tolist(), places_a.tolist(), places_b.tolist(), strict=True))


def _backward_order(rows: ComparedRows, graphs: GraphPair | None) -> dict[int, int]:
    """Give each subject of the first session its place in the order in which backward reaches them."""
    subjects = rows.a.subjects.tolist()
    if rows.kind == "module":  # recorded as they come, from the loss back
        return {subject: position for position, subject in enumerate(subjects)}
    if graphs is None:
        return {subject: position for position, subject in enumerate(sorted(subjects, reverse=True))}
    positions = graphs.engine_order()
    if rows.kind == "node":
        return {node: int(place) for node, place in enumerate(positions)}
    leaves = np.flatnonzero(graphs.a.parameter_id >= 0)
    return {int(graphs.a.parameter_id[leaf]): int(positions[leaf]) for leaf in leaves}

"""Gradients of two sessions step by step: each file is read once, in order, and most rows are told apart as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import Backward, Gradients
from gradwatch.session.columns import as_array
from gradwatch.session.compare_graphs import GraphPair
from gradwatch.session.compare_tolerance import RowGaps, Tolerance, row_gaps
from gradwatch.session.gradients import GradientRows
from gradwatch.session.reader import LATE_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.records import SubjectKind
    from gradwatch.session.compare_names import NamePairs
    from gradwatch.session.graph import GraphColumns
    from gradwatch.session.session import Session

    StepRecords = dict[tuple[SubjectKind, int], Gradients]
    Indices = NDArray[np.int64]

_KEPT_MATCHES = 64
_KEPT_GRAPHS = 16
_MOST_NODES = 1_000_000
"""Pairing nodes takes some hundred bytes for each."""


@dataclass(frozen=True, slots=True)
class Match:
    """Rows about the same subject: positions `a` and `b`; subjects of pairs that only one side has a row of."""

    a: Indices
    b: Indices
    only_a: Indices
    only_b: Indices
    is_identity: bool


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """One kind of subject in one backward call: rows of both, how they match, and how far they lie apart."""

    kind: SubjectKind
    backward: int
    a: GradientRows
    b: GradientRows
    match: Match
    gaps: RowGaps
    one_sided: bool

    @property
    def parts(self) -> bool:
        return bool(self.gaps.parts.any()) or (
            self.one_sided and bool(len(self.match.only_a) or len(self.match.only_b))
        )

    @property
    def relative(self) -> float:
        if self.one_sided and (len(self.match.only_a) or len(self.match.only_b)):
            return float("inf")
        return float(self.gaps.relative.max(initial=0.0))


class Calls:
    """The backward calls of a session: graph, ledger and held bytes of each by step and index."""

    def __init__(self, session: Session, steps: Iterable[int] | None = None) -> None:
        records = (
            session.reader.records(Backward)
            if steps is None
            else (record for step in steps for record in session.reader.records_of_step(Backward, step))
        )
        self._calls: dict[tuple[int, int], tuple[int, int, int]] = {}
        self.of_step: dict[int, list[int]] = {}
        for record in records:
            self._calls[record.step, record.index] = record.graph, record.ledger, record.held_bytes
            self.of_step.setdefault(record.step, []).append(record.index)

    def graph(self, step: int, index: int) -> int:
        return self._calls.get((step, index), (-1, -1, -1))[0]

    def ledger(self, step: int, index: int) -> int:
        return self._calls.get((step, index), (-1, -1, -1))[1]

    def held_bytes(self, step: int, index: int) -> int:
        return self._calls.get((step, index), (-1, -1, -1))[2]


class StepComparer:
    """Compares the rows of one pair of steps after the other."""

    def __init__(self, a: Session, b: Session, names: NamePairs, tolerance: Tolerance) -> None:
        self.a, self.b = a, b
        self.names = names
        self.tolerance = tolerance
        self._matches: dict[Any, Match] = {}
        self._graphs: dict[tuple[int, int], GraphPair | None] = {}
        self.too_large: dict[str, None] = {}
        """Says which graphs were not compared for their size, each once."""

    def rows(
        self, key: tuple[SubjectKind, int], pair: tuple[Gradients, Gradients], graphs: tuple[int, int]
    ) -> ComparedRows | None:
        """Compare one kind of row of one call; None where nodes cannot be paired, their graphs being unknown."""
        kind, backward = key
        first, second = pair
        second_of = self._second_of(kind, graphs)
        if second_of is None:
            return None
        match = self._match(kind, pair, graphs if kind == "node" else (-1, -1), second_of)
        rows_a = _rows(self.a, first)
        if match.is_identity and first.columns == second.columns:
            rows_b = rows_a if first.subjects == second.subjects else _rows(self.b, second)
            gaps = RowGaps(np.zeros(len(match.a), dtype=bool), np.zeros(len(match.a)))
        else:
            rows_b = _rows(self.b, second)
            gaps = row_gaps(_taken(rows_a, match.a), _taken(rows_b, match.b), self.tolerance)
        return ComparedRows(kind, backward, rows_a, rows_b, match, gaps, one_sided=kind != "node")

    def graph_pair(self, a: int, b: int) -> GraphPair | None:
        """Pair the nodes of two graphs; None where one is not in its file, or is too large."""
        if (a, b) not in self._graphs:
            while len(self._graphs) >= _KEPT_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            first, second = self.a.graph_columns(a), self.b.graph_columns(b)
            if first is None or second is None or self._is_too_large(first, second):
                self._graphs[a, b] = None
            else:
                self._graphs[a, b] = GraphPair(first, second, self.names)
        return self._graphs[a, b]

    def _is_too_large(self, *graphs: GraphColumns) -> bool:
        large = next((graph for graph in graphs if len(graph.op) > _MOST_NODES), None)
        if large is not None:
            name = large.session.path.name
            self.too_large[f"A graph of {name} has {len(large.op)} nodes: nodes were not compared."] = None
        return large is not None

    def _second_of(self, kind: SubjectKind, graphs: tuple[int, int]) -> Mapping[int, int] | None:
        if kind != "node":
            return self.names.of(kind).second_of
        pair = self.graph_pair(*graphs)
        return None if pair is None else pair.second_of

    def _match(
        self,
        kind: SubjectKind,
        pair: tuple[Gradients, Gradients],
        graphs: tuple[int, int],
        second_of: Mapping[int, int],
    ) -> Match:
        key = (kind, graphs, pair[0].subjects.data, pair[1].subjects.data)
        if key not in self._matches:
            while len(self._matches) >= _KEPT_MATCHES:
                del self._matches[next(iter(self._matches))]
            subjects = [
                as_array(each.subjects, session.path) for each, session in zip(pair, (self.a, self.b), strict=True)
            ]
            self._matches[key] = matched(subjects[0].tolist(), subjects[1].tolist(), second_of)
        return self._matches[key]


def matched(a: list[int], b: list[int], second_of: Mapping[int, int]) -> Match:
    """Match rows by their subjects. A subject that the other session does not know at all is left out."""
    places = {subject: position for position, subject in enumerate(b)}
    pairs = [(at, places[second_of[subject]]) for at, subject in enumerate(a) if second_of.get(subject) in places]
    reached = {b[position] for _, position in pairs}
    known = set(second_of.values())
    columns = np.reshape(np.array(pairs, dtype=np.int64), (-1, 2))
    return Match(
        columns[:, 0],
        columns[:, 1],
        np.array([each for each in a if each in second_of and second_of[each] not in places], dtype=np.int64),
        np.array([each for each in b if each in known and each not in reached], dtype=np.int64),
        len(pairs) == len(a) == len(b) and all(at == position for at, position in pairs),
    )


def records_by_step(session: Session, steps: set[int]) -> Iterator[tuple[int, StepRecords]]:
    """Every one of `steps` with its gradient records, in order; a record may come a little late."""
    waiting: dict[int, StepRecords] = {}
    latest = -1
    for record in session.reader.records(Gradients):
        if record.stop >= 0 or record.step not in steps:
            continue
        latest = max(latest, record.step)
        waiting.setdefault(record.step, {})[record.subject_kind, record.backward] = record
        for step in sorted(step for step in waiting if step < latest - LATE_STEPS):
            yield step, waiting.pop(step)
    yield from sorted(waiting.items())


def paired_records(
    a: Session, b: Session, pairs: list[tuple[int, int]]
) -> Iterator[tuple[int, int, StepRecords, StepRecords]]:
    """Each pair of steps with the gradient records of both, in order."""
    if len(pairs) == 1:
        ((first, second),) = pairs
        yield first, second, _records_of(a, first), _records_of(b, second)
        return
    streams = [records_by_step(session, {pair[side] for pair in pairs}) for side, session in enumerate((a, b))]
    heads = [next(stream, None) for stream in streams]
    for pair in pairs:
        found: list[StepRecords] = []
        for side, step in enumerate(pair):
            head = heads[side]
            while head and head[0] < step:  # came later than any may
                head = heads[side] = next(streams[side], None)
            found.append(head[1] if head and head[0] == step else {})
            if head and head[0] == step:
                heads[side] = next(streams[side], None)
        yield (*pair, found[0], found[1])


def last_of_each(records: StepRecords, path: Path) -> StepRecords:
    """Of parameters' gradients those calls alone after which no other of the step reached all the same again.

    Micro-batches before the last are not reduced yet: after them each rank has a `.grad` of its own.
    """
    kept: StepRecords = {}
    reached: set[int] = set()
    for (kind, call), record in sorted(records.items(), key=lambda item: -item[0][1]):
        if kind != "parameter":
            continue
        subjects = set(as_array(record.subjects, path).tolist())
        if not subjects <= reached:
            kept[kind, call] = record
        reached |= subjects
    return kept


def nothing_like(record: Gradients) -> Gradients:
    """Make the record of a call that reached no subject of this kind."""
    columns = {name: type(column)(column.dtype, b"") for name, column in record.columns.items()}
    return Gradients(record.step, record.backward, record.subject_kind, type(record.subjects)("<u4", b""), columns)


def _records_of(session: Session, step: int) -> StepRecords:
    records = session.reader.records_of_step(Gradients, step)
    return {(record.subject_kind, record.backward): record for record in records if record.stop < 0}


def _rows(session: Session, record: Gradients) -> GradientRows:
    return GradientRows([record], record.subject_kind, session.path, lambda _, subject: str(subject))


def _taken(rows: GradientRows, positions: Indices) -> dict[str, NDArray[Any]]:
    return {name: column[positions] for name, column in rows.columns.items()}

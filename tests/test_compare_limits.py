"""Comparisons of what is large, or out of order: lists end, and say how much they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import session_factory as make
from gradwatch import open as open_session
from gradwatch.records import Parameters
from gradwatch.session.compare import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pytest

    from gradwatch import Session
    from gradwatch.records import Record as AnyRecord


def session_of(path: Path, flushes: Iterable[Iterable[AnyRecord]]) -> Session:
    return open_session(make.write_session(path, flushes))


def wide(path: Path, count: int, factor: float = 1.0, op: str = "MulBackward0") -> Session:
    """One step with a chain of `count` nodes and as many parameters."""
    nodes = [make.Node(op) for _ in range(count)]
    edges = [(node + 1, 0, node, 0) for node in range(count - 1)]
    rows: dict[int, Sequence[float]] = {number: [factor, 2.0 * factor] for number in range(count)}
    tables: list[AnyRecord] = [
        Parameters([make.parameter(number, f"w{number}", (2,)) for number in range(count)]),
        make.graph(0, nodes, edges, [count - 1]),
    ]
    step = [make.backward(0, graph=0), make.gradients(0, rows), make.gradients(0, rows, "node"), make.step(0, 1.0)]
    return session_of(path, [tables, step])


def test_long_lists_end_and_say_how_much_they_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradwatch.session.compare_result.MOST_LISTED", 3)
    monkeypatch.setattr("gradwatch.session.compare.MOST_LISTED", 3)
    with wide(tmp_path / "a.gradwatch", 5) as a, wide(tmp_path / "b.gradwatch", 5, 2.0) as b:
        found = compare(a, b)
        assert found.gradients is not None
        assert (len(found.gradients.nodes), len(found.gradients.parameters), found.gradients.unlisted) == (3, 3, 4)
        assert "4 more gradients part at that step than are listed." in found.notes
    with wide(tmp_path / "c.gradwatch", 5) as a, wide(tmp_path / "d.gradwatch", 5, op="ExpBackward0") as b:
        found = compare(a, b)
        assert found.graph is not None
        assert (len(found.graph.only_a), len(found.graph.only_b), found.graph.unlisted) == (3, 3, 4)
        assert "The graphs differ in 4 more nodes than are listed." in found.notes


def test_graphs_too_large_to_pair_are_told_and_the_rest_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradwatch.session.compare_steps._MOST_NODES", 4)
    with wide(tmp_path / "a.gradwatch", 5) as a, wide(tmp_path / "b.gradwatch", 5, 2.0) as b:
        found = compare(a, b)
        assert (found.compared["node"], found.graph) == (0, None)
        assert found.notes.count("A graph of a.gradwatch has 5 nodes: nodes were not compared.") == 1
        assert found.gradients is not None
        assert found.gradients.first.kind == "parameter"


def test_records_that_come_later_than_they_may_cost_only_their_own_step(tmp_path: Path) -> None:
    names: list[AnyRecord] = [Parameters([make.parameter(0, "w", (2,))])]
    steps: list[list[AnyRecord]] = [
        [make.backward(number), make.gradients(number, {0: [1.0, 2.0]}), make.step(number, 1.0)] for number in range(9)
    ]
    late = [*steps[1:7], steps[0], *steps[7:]]
    a = session_of(tmp_path / "a.gradwatch", [names, *steps])
    b = session_of(tmp_path / "b.gradwatch", [names, *late])
    with a, b:
        found = compare(a, b)
        assert found.compared["parameter"] == 8
        assert found.gradients is not None, "of step 0 none was seen in time"
        assert found.gradients.step_a == 0

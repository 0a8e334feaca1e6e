"""Golden sessions: this reader says of them what is written beside them, and so must every other."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

import make_golden
from gradwatch.records import TOPICS
from gradwatch.session.reader import SessionReader
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = sorted(make_golden.SESSIONS)


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest) -> Iterator[tuple[Session, dict[str, Any]]]:
    folder = make_golden.GOLDEN
    expected = json.loads((folder / f"{request.param}.json").read_text(encoding="utf-8"))
    with Session(folder / f"{request.param}.gradwatch") as session:
        yield session, expected


def as_number(value: float | str | None) -> Any:
    return value if value is None else pytest.approx(float(value), rel=1e-6, nan_ok=True)


def as_numbers(values: list[Any]) -> list[Any]:
    return [as_number(value) for value in values]


def test_a_golden_session_has_the_steps_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    assert session.finished == expected["finished"]
    assert (session.finish is None) == (expected["finish"] is None)
    for name, value in (expected["finish"] or {}).items():
        assert getattr(session.finish, name) == value
    assert [view.number for view in session.steps] == [entry["number"] for entry in expected["steps"]]
    for view, entry in zip(session.steps, expected["steps"], strict=True):
        assert view.loss == as_number(entry["loss"])
        assert view.complete == entry["complete"]
        assert [{"graph": call.graph_id, "ledger": call.ledger_id} for call in view.backwards] == entry["backwards"]
    assert [notice.text for notice in session.notices] == expected["notices"]
    assert session.gaps == []


def test_a_golden_session_has_the_gradients_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    assert session.parameters.names == expected["parameters"]
    assert session.modules.names == expected["modules"]
    for key, micro_batches in (("gradients", False), ("micro_batches", True)):
        for name, columns in expected.get(key, {}).items():
            series = session.gradient(name, micro_batches=micro_batches)
            for column, values in columns.items():
                assert getattr(series, column).tolist() == as_numbers(values), f"{column} of {name}"
    for name, columns in expected.get("optimizer", {}).items():
        for column, values in columns.items():
            assert getattr(session.gradient(name), column).tolist() == as_numbers(values)


def test_a_golden_session_has_the_histograms_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    for name, rows in expected.get("histograms", {}).items():
        series = session.gradient(name)
        found = [{str(k): row[k] for k in range(64) if row[k]} for row in series.histogram.tolist()]
        assert found == rows


def test_a_golden_session_has_the_graph_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    assert [[variant.id, variant.steps.tolist()] for variant in session.variants] == expected["variants"]
    if "graph" not in expected:
        return
    graph = session.graph(expected["graph"]["step"])
    for node, entry in zip(graph.nodes, expected["graph"]["nodes"], strict=True):
        for name in ("name", "module", "line", "parameter"):
            assert getattr(node, name) == entry[name]
        if "norm" in entry:
            assert node.gradient is not None
            assert math.isclose(node.gradient["l2"], entry["norm"])
    assert [[edge.source, edge.slot, edge.target, edge.input_nr] for edge in graph.edges] == expected["graph"]["edges"]
    assert graph.roots == expected["graph"]["roots"]


def test_a_golden_session_has_the_held_bytes_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    if "held" not in expected:
        return
    held = session.held(expected["held"]["step"])
    assert held.total_bytes == expected["held"]["total_bytes"]
    assert held.peak_bytes == expected["held"]["peak_bytes"]
    assert expected["held"]["class_bytes"].items() <= held.class_bytes.items()
    for key, rows in expected["held"]["by"].items():
        assert [list(row) for row in held.by(key)] == rows
    times, sizes = held.curve
    assert [list(pair) for pair in zip(times.tolist(), sizes.tolist(), strict=True)] == expected["held"]["curve"]


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_sessions_are_what_the_script_writes(name: str, tmp_path: Path) -> None:
    # Records are compared, not bytes: another release of zstd may pack them otherwise.
    make_golden.write(tmp_path)
    committed, written = make_golden.GOLDEN / f"{name}.gradwatch", tmp_path / f"{name}.gradwatch"
    with SessionReader(committed) as kept, SessionReader(written) as fresh:
        for record_type in TOPICS.values():
            assert list(map(repr, kept.records(record_type))) == list(map(repr, fresh.records(record_type)))
    assert committed.with_suffix(".json").read_text("utf-8") == written.with_suffix(".json").read_text("utf-8")

"""Golden sessions: this reader says of them what is written beside them, and so must every other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import make_golden
from gradwatch.records import TOPICS, CompiledRegion, Gradients, Graph, Series, Step, Totals
from gradwatch.session.columns import as_array
from gradwatch.session.reader import SessionReader
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_a_golden_session_has_the_findings_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden

    def line(site: int) -> str | None:
        return None if site < 0 else f"{Path(session.site(site).file).name}:{session.site(site).line}"

    told = [
        {
            "kind": finding.kind,
            "severity": finding.severity,
            "title": finding.title,
            "line": line(finding.site),
            "other_line": line(finding.other_site),
            "steps": finding.steps,
            "evidence": finding.evidence,
            "certainty": finding.certainty,
        }
        for finding in session.findings
    ]
    assert told == expected.get("findings", [])


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


def test_a_golden_session_has_the_totals_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    found: dict[str, dict[int, float]] = {"gradient_norm": {}, "nonfinite": {}, "held_bytes": {}}
    for record in session.reader.records(Totals):
        steps = as_array(record.steps, session.path).tolist()
        for name in ("gradient_norm", "nonfinite"):
            found[name] |= dict(zip(steps, as_array(getattr(record, name), session.path).tolist(), strict=True))
        calls = as_array(record.call_step, session.path).tolist()
        for step, held in zip(calls, as_array(record.call_held_bytes, session.path).tolist(), strict=True):
            found["held_bytes"][step] = max(held, found["held_bytes"].get(step, -1))
    for name, values in expected.get("totals", {}).items():
        for step, value in values.items():
            if int(step) in found[name]:
                unseen = name == "nonfinite" and value == "nan"
                assert found[name][int(step)] == (-1 if unseen else as_number(value)), f"{name} of step {step}"
    assert max(found["gradient_norm"], default=-1) == expected.get("totals_to", -1)


def test_a_golden_session_has_the_skipped_steps_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    scaled = expected.get("scaled", [])
    found = [record for record in session.reader.records(Step) if record.loss_scale is not None]
    assert [{"number": one.number, "loss_scale": one.loss_scale, "skipped": one.skipped} for one in found] == scaled
    skipped = [number for record in session.reader.records(Totals) for number in record.skipped]
    assert skipped == [entry["number"] for entry in scaled if entry["skipped"]]


def test_a_golden_session_has_the_gradients_before_reduction_written_beside_it(
    golden: tuple[Session, dict[str, Any]],
) -> None:
    session, expected = golden
    norms: dict[str, dict[str, float]] = {}
    names = {parameter.id: parameter.name for parameter in session.parameters}
    for record in session.reader.records(Gradients):
        if record.subject_kind == "local":
            ids = as_array(record.subjects, session.path).tolist()
            for one, norm in zip(ids, as_array(record.columns["l2"], session.path).tolist(), strict=True):
                norms.setdefault(names[one], {})[str(record.step)] = as_number(norm)
    assert norms == expected.get("local", {})


def test_a_golden_session_has_the_compiled_region_written_beside_it(golden: tuple[Session, dict[str, Any]]) -> None:
    session, expected = golden
    regions = list(session.reader.records(CompiledRegion))
    compiled = expected.get("compiled")
    assert len(regions) == (compiled is not None)
    for region in regions:
        assert compiled is not None
        labels = [label for record in session.reader.records(Graph) for label in record.labels]
        assert [(label.node, label.region) for label in labels] == [(compiled["node"], region.id)]
        assert (region.name, region.backend, region.op_names) == (
            compiled["name"],
            compiled["backend"],
            compiled["ops"],
        )
        phase, saved, recomputed, forward_op = (
            as_array(column, session.path).tolist()
            for column in (region.phase, region.saved, region.recomputed, region.forward_op)
        )
        assert phase.count(0) == compiled["forward"]
        assert [name for name, one in zip(region.op_names, saved, strict=True) if one] == compiled["saved"]
        again = [op for op, one in zip(forward_op, recomputed, strict=True) if one]
        assert sorted(region.op_names[op] for op in again) == sorted(compiled["recomputed"])


@pytest.mark.parametrize("name", ["series", "followed"])
def test_series_say_what_the_records_of_each_step_say(name: str) -> None:
    with Session(make_golden.GOLDEN / f"{name}.gradwatch") as session:
        for parameter in session.parameters:
            series = session.gradient(parameter.name)
            records = session.gradient(parameter.name, micro_batches=True)
            last = np.append(records.steps[1:] != records.steps[:-1], True)[: len(records)]
            assert series.steps.tolist() == records.steps[last].tolist()
            for column in ("norm", "min", "max", "abs_max", "mean", "zeros", "inf", "backward"):
                assert getattr(series, column).tobytes() == getattr(records, column)[last].tobytes(), column


def test_a_file_without_series_says_the_same_as_one_with_them(tmp_path: Path) -> None:
    folder = make_golden.GOLDEN
    expected = json.loads((folder / "seed.json").read_text(encoding="utf-8"))
    with Session(folder / "older" / "seed.gradwatch") as session:
        assert "/series" not in {channel.topic for channel in session.reader.head.channels.values()}
        assert list(session.reader.records(Series)) == []
        assert session.gradient("w").norm.tolist() == as_numbers(expected["gradients"]["w"]["norm"])
        assert session.gradient("w").backward.tolist() == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_sessions_are_what_the_script_writes(name: str, tmp_path: Path) -> None:
    # Records are compared, not bytes: another release of zstd may pack them otherwise.
    make_golden.write(tmp_path)
    committed, written = make_golden.GOLDEN / f"{name}.gradwatch", tmp_path / f"{name}.gradwatch"
    with SessionReader(committed) as kept, SessionReader(written) as fresh:
        for record_type in TOPICS.values():
            assert list(map(repr, kept.records(record_type))) == list(map(repr, fresh.records(record_type)))
    assert committed.with_suffix(".json").read_text("utf-8") == written.with_suffix(".json").read_text("utf-8")

"""The snapshots that the panel's tests read: they fit the contract, and the programs behind them still make them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import pytest

import make_snapshots
from debugger_questions import Answer, forget_compilations
from gradwatch.json_records import to_json
from gradwatch.records import Snapshot

NAMES = sorted(make_snapshots.PROGRAMS)


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)


def golden(name: str) -> str:
    return (make_snapshots.GOLDEN / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_the_contract_to_the_last_field(name: str) -> None:
    text = golden(name)
    parsed = make_snapshots.snapshot_of(text)
    assert to_json("Snapshot", parsed) + "\n" == text
    assert set(json.loads(text)["value"]) == {each.name for each in fields(Snapshot)}
    assert len(text) < 400_000


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_machine_is_in_it(name: str) -> None:
    run = make_snapshots.snapshot_of(golden(name)).run
    assert (run.hostname, run.working_directory, run.pid) == ("machine", "/project", 4242)
    paths = {part for part in golden(name).split('"') if part.startswith("/")}
    assert {path for path in paths if not path.startswith("/project")} <= base64_of(name)


def base64_of(name: str) -> set[str]:
    """Columns in base64 that happen to begin with a slash."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if set(value) == {"dtype", "data"}:
                found.add(value["data"])
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)

    collect(json.loads(golden(name)))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_its_program_still_makes_it(name: str) -> None:
    made = make_snapshots.without_machine(make_snapshots.snapshot_of(make_snapshots.PROGRAMS[name]()))
    expected = make_snapshots.snapshot_of(golden(name))
    assert shape(asdict(made)) == shape(asdict(expected))
    for part in ("state", "root", "modules", "parameters", "callers"):
        assert getattr(made, part) == getattr(expected, part)
    assert [v.expression for v in made.variables] == [v.expression for v in expected.variables]
    if made.graph is not None and expected.graph is not None:
        assert made.graph.node_count == expected.graph.node_count
        assert Answer(made).node_names == Answer(expected).node_names
        assert Answer(made).node_modules == Answer(expected).node_modules
        if hasattr(sys, "monitoring"):  # lines come from the line clock
            assert Answer(made).node_lines == Answer(expected).node_lines
    if made.states is not None:
        assert Answer(made).states == Answer(expected).states
        assert Answer(made).pending == Answer(expected).pending


def shape(value: Any) -> Any:
    """Names and types, without lengths and values: columns and lists differ by machine."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    assert not is_dataclass(value)
    return [] if isinstance(value, list) else type(value).__name__


def test_the_kinds_of_trouble_that_views_must_show_are_all_there() -> None:
    nan = Answer(make_snapshots.snapshot_of(golden("nan")))
    assert set(nan.states.values()) == {"present", "None", "frozen"}
    bad, zeros, count = nan.statistic("nan"), nan.statistic("zeros"), nan.statistic("count")
    assert any(bad.values())
    assert any(zeros[name] == count[name] for name in count)
    assert any(not bad[name] and zeros[name] < count[name] for name in count)
    assert any(each.aliases for each in nan.record.parameters)
    transformer = Answer(make_snapshots.snapshot_of(golden("transformer")))
    assert {"pending", "fired", "running"} == set(transformer.node_states)
    assert transformer.pending
    assert transformer.changed
    assert make_snapshots.snapshot_of(golden("nothing")).callers


def test_big_ones_for_benches_have_about_what_was_asked() -> None:
    found = Answer(make_snapshots.snapshot_of(make_snapshots.big(700)))
    assert 600 < found.graph.node_count < 800

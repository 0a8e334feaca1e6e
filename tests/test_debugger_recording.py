"""A stop while a recorder runs is part of its session, with the recording's ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import gradwatch
from debugger_questions import Answer, array, read, snapshot
from gradwatch.debugger import answer
from gradwatch.errors import UsageError
from gradwatch.records import GRADIENT_STATES, NODE_STATES

if TYPE_CHECKING:
    from pathlib import Path


class Run:
    """Three recorded steps of a small model with a stop in each, at the end of it or inside backward."""

    def __init__(self, path: Path, *, inside: bool = False, detail: Any = "modules") -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.answers: list[Answer] = []
        with gradwatch.watch(self.model, path, detail=detail):
            for step in range(3):
                self.step(step, inside=inside)
        self.session = gradwatch.open(path)

    def step(self, step: int, *, inside: bool) -> None:
        self.optimizer.zero_grad()
        hidden = self.model[:2](torch.randn(4, 3))
        if inside:
            hidden.register_hook(lambda _: self.answers.append(read(answer(snapshot(stop=step)))))
        loss = self.model[2](hidden).sum()
        loss.backward()
        if not inside:
            for _ in range(2):  # the second question of a stop adds nothing
                self.answers.append(read(answer(snapshot(stop=step))))
        self.optimizer.step()


def test_each_stop_is_recorded_once_with_its_gradients(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.gradwatch")
    with run.session as session:
        numbers = [found.record.stop.number for found in run.answers[::2]]
        assert [stop.number for stop in session.stops] == numbers
        # The first step is open until its optimizer steps again: the second backward may still be part of it.
        assert [stop.step for stop in session.stops] == [0, 0, 2]
        found = run.answers[-1]
        rows = session.gradients_at_stop(numbers[-1])
        assert rows.step == 2
        by_name = dict(zip(rows.names, rows.norm.tolist(), strict=True))
        assert {f"self.{name}": norm for name, norm in by_name.items()} == pytest.approx(found.statistic("l2"))
        states = session.gradient_states(numbers[-1])
        assert states is not None
        assert {GRADIENT_STATES[i] for i in array(states.state).tolist()} == {"present"}
        assert array(states.changed).all()


def test_a_stop_s_gradients_are_no_backward_call_s(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.gradwatch")
    with run.session as session:
        assert session.gradients_at(1).backward.tolist() == [0] * 4
        series = session.gradient("model.0.weight", micro_batches=True)
        assert series.steps.tolist() == [0, 1, 2]
        assert all(rows.backward.min() >= 0 for rows in session.gradient_records())
        assert len(series.histogram) == 3


def test_inside_backward_the_stop_refers_to_the_recorded_graph(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.gradwatch", inside=True)
    with run.session as session:
        stop = session.stops[1]
        assert stop.in_backward
        graph = session.graph(1)
        assert stop.graph == session.step(1).backwards[0].graph_id
        assert stop.node_states is not None
        states = [NODE_STATES[i] for i in array(stop.node_states).tolist()]
        assert len(states) == len(graph.nodes)
        assert graph.nodes[stop.running].name == "TanhBackward0"
        assert states[stop.running] == "running"


def test_a_graph_that_was_not_recorded_is_not_referred_to(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.gradwatch", inside=True, detail="parameters")
    with run.session as session:
        stop = session.stops[1]
        assert (stop.in_backward, stop.graph, stop.running, stop.node_states) == (True, -1, -1, None)
    assert run.answers[1].record.stop.running >= 0  # the answer itself has it


def test_the_recorder_lends_modules_and_lines_and_is_told_of(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.gradwatch")
    found = run.answers[0]
    assert dict(zip(found.node_names, found.node_modules, strict=True))["TanhBackward0"] == "1"
    assert any("self.model[:2]" in line for line in found.node_lines)
    recording = found.record.recording
    assert recording is not None
    assert (recording.path, recording.detail) == (str(tmp_path / "run.gradwatch"), "modules")
    assert 0 < recording.cost < 1
    assert run.answers[-1].record.recording is not None
    assert run.answers[-1].record.recording.steps == 2
    assert found.record.stop.step == 0
    run.session.close()


def test_parameters_that_the_recording_does_not_know_are_left_out(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    path = tmp_path / "run.gradwatch"
    with gradwatch.watch(model, path):
        (model(torch.ones(1, 2)) + other(torch.ones(1, 2))).sum().backward()
        found = read(answer(snapshot()))
    assert len(found.names) == 4
    with gradwatch.open(path) as session:
        assert session.gradients_at_stop(session.stops[0].number).names == ["Linear.weight", "Linear.bias"]


def test_a_stop_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    with gradwatch.watch(nn.Linear(1, 1), path):
        pass
    with gradwatch.open(path) as session:
        assert session.stops == []
        with pytest.raises(UsageError, match="There is no stop 3 in this session"):
            session.gradients_at_stop(3)

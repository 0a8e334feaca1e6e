"""What the first stop attaches: it changes nothing, ends with the debugger, and then nothing of it is left."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import gradwatch
import models
from conftest import traces
from debugger_questions import forget_compilations, read, snapshot
from gradwatch.capture import attach as attaching
from gradwatch.capture import light_hooks
from gradwatch.capture.attach import attach, attachment, detach
from gradwatch.debugger import answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Client:
    """Stands for pydevd with or without a client."""

    def __init__(self) -> None:
        self.is_there = True
        self.module: Any = types.ModuleType("pydevd")
        self.module._is_attached = lambda: self.is_there
        self.module.settrace = lambda **_: None


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    client = Client()
    monkeypatch.setitem(sys.modules, "pydevd", client.module)
    yield client
    detach()


def test_without_a_debugger_a_question_attaches_nothing() -> None:
    w = torch.ones(2, requires_grad=True)
    assert read(answer(snapshot())).names == ["w"]
    assert attachment() is None
    assert traces() == []
    del w


def test_the_first_question_under_a_debugger_attaches_and_detach_leaves_nothing(client: Client) -> None:
    model = nn.Linear(2, 2)
    assert read(answer(snapshot())).names == ["model.weight", "model.bias"]
    assert model.training
    assert attachment() is not None
    assert any("global forward" in trace for trace in traces())
    first = attachment()
    read(answer(snapshot()))
    assert attachment() is first
    assert '"Conditions"' in answer('{"question": "detach"}')
    assert attachment() is None
    assert traces() == []


def test_the_first_graph_is_told_to_be_the_last_without_lines(client: Client) -> None:
    model = nn.Linear(2, 2)
    loss = model(torch.ones(1, 2)).sum()
    (notice,) = read(answer(snapshot())).record.notices
    assert notice.text.endswith("Operations that run after this stop will have both.")
    loss = model(torch.ones(1, 2)).sum()
    assert read(answer(snapshot())).record.notices == []
    del loss


def test_it_ends_itself_when_the_debugger_goes(client: Client) -> None:
    model = nn.Linear(2, 2)
    read(answer(snapshot()))
    client.is_there = False
    for _ in range(light_hooks.CALLS_BETWEEN_CHECKS + 1):
        model(torch.ones(1, 2))
    assert attachment() is None
    assert traces() == []


def test_a_recorder_takes_over(client: Client, tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    read(answer(snapshot()))
    with gradwatch.watch(model, tmp_path / "run.gradwatch"):
        loss = model(torch.ones(1, 2)).sum()
        found = read(answer(snapshot()))
        assert attachment() is None
    assert dict(zip(found.node_names, found.node_modules, strict=True))["AddmmBackward0"] == ""
    assert found.record.recording is not None
    read(answer(snapshot()))
    assert attachment() is not None
    del loss


def test_of_a_program_that_compiles_module_calls_are_left_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamo = types.ModuleType("torch._dynamo.utils")
    vars(dynamo)["counters"] = {"frames": {"ok": 1}}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", dynamo)
    w = torch.ones(2, requires_grad=True)
    found = read(answer(snapshot()))
    assert attachment() is not None
    assert not any("global forward" in trace for trace in traces())
    assert any("uses torch.compile" in notice.text for notice in found.record.notices)
    del w


@pytest.mark.parametrize("name", ["mlp", "convnet", "lstm_cell"])
def test_training_is_the_same_to_the_last_bit(name: str, client: Client) -> None:
    expected = models.fingerprints(models.PROGRAMS[name]())
    program = models.PROGRAMS[name]()
    program.optimizer.register_step_pre_hook(lambda *_: read(answer(snapshot())) and None)
    hooked = next(program.model.parameters())
    hooked.register_hook(lambda _: read(answer(snapshot())) and None)
    assert models.fingerprints(program) == expected
    assert attachment() is not None


def test_without_an_optimizer_what_is_known_of_old_calls_is_forgotten(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "KEPT_NOTES", 100)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    attached = attach()
    for _ in range(5 * light_hooks.CALLS_BETWEEN_CHECKS):
        model(torch.ones(1, 2))
    assert len(attached.hooks.intervals.mine().numbers) < 4 * light_hooks.CALLS_BETWEEN_CHECKS


def test_with_an_optimizer_graphs_of_some_steps_keep_their_modules(client: Client) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = attach()
    first = model(torch.ones(1, 2)).sum()
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    found = read(answer(snapshot(root="first")))
    assert dict(zip(found.node_names, found.node_modules, strict=True))["TanhBackward0"] == "1"
    size = len(attached.hooks.intervals.mine().numbers)
    for _ in range(50):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert len(attached.hooks.intervals.mine().numbers) < size + 10 * attaching.KEPT_STEPS
    assert attached.steps[optimizer] == 53
    del first


def test_attaching_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("no hooks")

    monkeypatch.setattr(attaching, "register_optimizer_step_post_hook", broken)
    monkeypatch.setattr(attaching, "register_optimizer_step_post_hook", lambda _: broken())
    with pytest.raises(RuntimeError, match="no hooks"):
        attach()
    assert attachment() is None
    assert traces() == []

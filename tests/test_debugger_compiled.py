"""At a stop a compiled node opens into the graph that was made of it, where somebody saw it being made."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

import gradwatch
from conftest import traces
from debugger_questions import Answer, array, read, snapshot
from gradwatch.capture.attach import detach
from gradwatch.capture.compiled_graphs import OPENED
from gradwatch.debugger import answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _a_fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    detach()


@pytest.fixture
def _debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("pydevd")
    module._is_attached = lambda: True
    module.settrace = lambda **_: None
    monkeypatch.setitem(sys.modules, "pydevd", module)


def waves(x: Tensor) -> Tensor:
    once = x.sin()
    return once.cos().sum()


def lines_of(asked: Answer) -> list[str]:
    """Of the forward ops of the one region: "function:lines after the first"."""
    (region,) = asked.record.regions
    first = waves.__code__.co_firstlineno
    by_id = {site.id: site for site in asked.record.sites}
    sites = [by_id[number] for number in array(region.project_site).tolist() if number >= 0]
    return [f"{site.function}:{site.line - first}" for site in sites][:3]


def targets_of(asked: Answer) -> list[str]:
    (region,) = asked.record.regions
    targets = [region.targets[number] for number in array(region.target).tolist()]
    return [target for target, phase in zip(targets, array(region.phase).tolist(), strict=True) if phase == 0]


def test_under_a_recorder_a_stop_opens_the_compiled_node_and_so_does_its_file(tmp_path: Path) -> None:
    compiled: Any = torch.compile(waves, backend="aot_eager")
    x = torch.rand(5, requires_grad=True)
    path = tmp_path / "run.gradwatch"
    asked: Answer | None = None
    with gradwatch.watch(path=path):
        for _ in range(2):
            loss = compiled(x)
            asked = read(answer(snapshot()))
            loss.backward()
    assert asked is not None
    (label,) = asked.graph.labels
    assert (label.text, label.region) == (OPENED, asked.record.regions[0].id)
    assert targets_of(asked)[1:] == ["aten.sin.default", "aten.cos.default", "aten.sum.default"]
    assert lines_of(asked) == ["waves:1", "waves:2", "waves:2"]
    with gradwatch.open(path) as session:
        (node,) = [each for each in session.graph(1).nodes if each.label is not None]
        assert node.region is not None
        assert [op.target for op in node.region.forward] == targets_of(asked)[1:]


@pytest.mark.usefixtures("_debugger")
def test_what_is_compiled_after_the_first_stop_opens_without_a_recorder() -> None:
    x = torch.rand(5, requires_grad=True)
    read(answer(snapshot()))
    compiled: Any = torch.compile(waves, backend="aot_eager")
    loss = compiled(x)
    asked = read(answer(snapshot()))
    assert lines_of(asked) == ["waves:1", "waves:2", "waves:2"]
    assert asked.record.root >= 0
    del loss
    detach()
    assert traces() == []


def test_what_was_compiled_before_keeps_the_label_that_it_had() -> None:
    compiled: Any = torch.compile(waves, backend="aot_eager")
    loss = compiled(torch.rand(5, requires_grad=True))
    asked = read(answer(snapshot()))
    assert loss.requires_grad
    (label,) = asked.graph.labels
    assert (label.label, label.region) == ("compiled", -1)
    assert asked.record.regions == []

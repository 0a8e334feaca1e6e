"""Gradients at nodes of one backward call: each is read once, whatever else hooks the node, and none after the call."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gradwatch.capture.backward import BackwardCall
from gradwatch.capture.module_hooks import OutputGradients
from gradwatch.capture.modules import ModuleTable
from gradwatch.capture.names import Namer
from gradwatch.capture.node_hooks import NodeHooks
from gradwatch.capture.probes import Cost, Probe
from gradwatch.capture.sites import SiteTable
from gradwatch.capture.statistics import StatisticRows

if TYPE_CHECKING:
    from gradwatch.records import Notice


@pytest.fixture
def call() -> BackwardCall:
    return BackwardCall("backward", None, 0, StatisticRows(), False, False, False)  # noqa: FBT003 # the record's fields


@pytest.fixture
def told() -> list[Notice]:
    return []


@pytest.fixture
def hooks(call: BackwardCall, told: list[Notice]) -> NodeHooks:
    return NodeHooks(call, (Probe("node gradient", told.append), Cost()))


def norms(call: BackwardCall) -> list[float]:
    return call.rows.columns()["l2"].tolist()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return 2 * gradients[0]


def test_one_reading_serves_the_node_and_the_modules_that_returned_its_output(
    call: BackwardCall, hooks: NodeHooks
) -> None:
    x = torch.ones(4, requires_grad=True)
    first = Doubled.apply(x)
    second = first.sin()
    for position, tensor in enumerate((first, second)):
        hooks.add(tensor.grad_fn, {0: (position, [7, 8] if position else [])})
    (3 * second).sum().backward()
    assert call.node_rows == [(1, 0), (0, 1)]
    assert call.module_rows == [(7, 0), (8, 0)]
    assert norms(call) == pytest.approx([6, 6 * abs(torch.cos(torch.tensor(2.0)).item())])


def test_a_node_with_several_outputs_is_read_at_those_that_are_awaited(call: BackwardCall, hooks: NodeHooks) -> None:
    x = torch.ones(6, requires_grad=True)
    parts = x.split(2)
    hooks.add(parts[0].grad_fn, {0: (0, []), 2: (0, [5])})
    (parts[0].sum() + 2 * parts[1].sum() + 3 * parts[2].sum()).backward()
    assert norms(call) == pytest.approx([2**0.5, 3 * 2**0.5])
    assert call.module_rows == [(5, 1)]


def test_a_gradient_that_does_not_arrive_is_not_read(call: BackwardCall, hooks: NodeHooks) -> None:
    x = torch.ones(6, requires_grad=True)
    parts = x.split(2)
    hooks.add(parts[0].grad_fn, {1: (0, [])})
    parts[0].sum().backward()
    assert call.node_rows == []


def test_what_is_read_is_what_the_programs_own_hook_made_of_it(call: BackwardCall, hooks: NodeHooks) -> None:
    x = torch.ones(4, requires_grad=True)
    y = x.sin()
    y.register_hook(lambda gradient: 10 * gradient)
    hooks.add(y.grad_fn, {0: (0, [])})
    y.sum().backward()
    assert norms(call) == pytest.approx([20])


def test_a_retained_graph_is_read_by_the_hooks_of_the_running_call_alone(call: BackwardCall, hooks: NodeHooks) -> None:
    x = torch.ones(4, requires_grad=True)
    y = x.sin()
    hooks.add(y.grad_fn, {0: (0, [])})
    later = BackwardCall("backward", None, 0, StatisticRows(), False, False, False)  # noqa: FBT003 # the record's fields
    y.sum().backward(retain_graph=True)
    hooks.remove()
    assert len(hooks) == 0
    others = NodeHooks(later, (Probe("node gradient", print), Cost()))
    others.add(y.grad_fn, {0: (3, [])})
    y.sum().backward()
    assert (call.node_rows, later.node_rows) == ([(0, 0)], [(3, 0)])


def test_a_reading_that_fails_is_told_and_the_program_goes_on(
    hooks: NodeHooks, call: BackwardCall, told: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise ValueError("no row")

    monkeypatch.setattr(call.rows, "add", fail)
    x = torch.ones(4, requires_grad=True)
    y = x.sin()
    hooks.add(y.grad_fn, {0: (0, [])})
    y.sum().backward()
    assert x.grad is not None
    assert [notice.kind for notice in told] == ["probe stopped"]


def test_outputs_are_known_by_number_until_a_second_thread_runs_modules(call: BackwardCall) -> None:
    outputs = OutputGradients(Probe("module gradient", print), Cost(), lambda: call)
    table = ModuleTable(Namer(SiteTable().origins), lambda *_: None)
    x = torch.ones(4, requires_grad=True)
    made: list[torch.Tensor] = []

    def run(module: int) -> None:
        made.append(x.sin())
        outputs.watch(table, module, made[-1])

    run(0)
    other = Thread(target=run, args=(1,))
    other.start()
    other.join()
    run(2)
    nodes: list[Any] = [tensor.grad_fn for tensor in made]
    numbers = [node._sequence_nr() for node in nodes]
    assert outputs.awaited(outputs._thread, nodes[:1], numbers[:1]) == {0: {0: [0]}}
    assert outputs.awaited(outputs._thread, nodes[2:], numbers[2:]) == {}
    made[1].sum().backward()
    made[2].sum().backward()
    assert [subject for subject, _ in call.module_rows] == [1, 2]

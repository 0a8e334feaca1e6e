"""Gradients that meet, per edge, against autograd.grad of each branch alone; nothing of the training changes."""

from __future__ import annotations

import gc
import weakref
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exactness import check_exact
from gradwatch.capture import fan_ins as capture
from gradwatch.records import EARLIER_CALLS, FanIn, FanIns

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch import Session


def _fan_ins(session: Session) -> list[FanIns]:
    assert not [notice for notice in session.notices if notice.kind == "probe stopped"]
    return list(session.reader.records(FanIns))


def _check(fan_in: FanIn, gradients: list[Tensor]) -> None:
    """That a fan-in's numbers are those of these gradients, in any order."""
    flat = [gradient.double().flatten().numpy() for gradient in gradients]
    total = np.sum(flat, axis=0)
    expected = sorted((float(np.linalg.norm(each)), float(each @ total / (total @ total))) for each in flat)
    found = sorted(zip(fan_in.norms, fan_in.shares, strict=True))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in combinations(flat, 2)]
    assert sorted(fan_in.cosines) == pytest.approx(sorted(cosines), rel=1e-4, abs=1e-6)


def test_the_gradients_of_two_losses_are_told_apart_where_they_meet(record: Record) -> None:
    torch.manual_seed(0)
    trunk, first, second = nn.Linear(4, 5), nn.Linear(5, 1), nn.Linear(5, 3)
    x = torch.randn(7, 4)
    features = trunk(x)
    losses = (first(features).square().mean(), second(features).abs().sum())
    expected = [torch.autograd.grad(loss, features, retain_graph=True)[0] for loss in losses]

    def program() -> None:
        features = trunk(x)
        (first(features).square().mean() + second(features).abs().sum()).backward()

    session = record(program)
    (measured,) = _fan_ins(session)
    graph = session.graph(0)
    assert measured.graph == graph.id
    at_trunk = [each for each in measured.fan_ins if graph.nodes[each.node].name == "AddmmBackward0"]
    _check(at_trunk[0], expected)
    assert len(at_trunk) == 1


def test_a_residual_branch_and_its_skip_are_told_apart(record: Record) -> None:
    torch.manual_seed(0)
    stem, block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randn(6, 4)
    stemmed = stem(x)
    skip, branch = (torch.autograd.grad(part.pow(3).sum(), stemmed)[0] for part in (stemmed, stemmed))
    del branch
    into = stemmed.detach().requires_grad_()
    out = into + block(into)
    upstream = (3 * out**2).detach()
    skip = upstream
    branch = torch.autograd.grad(block(into), into, upstream)[0]

    def program() -> None:
        stemmed = stem(x)
        (stemmed + block(stemmed)).pow(3).sum().backward()

    (measured,) = _fan_ins(record(program))
    (fan_in,) = measured.fan_ins
    _check(fan_in, [skip, branch])


def test_each_use_of_a_tied_weight_is_measured(record: Record) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 5))
    x = torch.randn(3, 5)

    def uses() -> tuple[Tensor, Tensor]:
        return weight, weight

    first, second = (weight.detach().clone().requires_grad_() for _ in range(2))
    torch.tanh(torch.tanh(x @ first) @ second).sum().backward()

    def program() -> None:
        one, other = uses()
        torch.tanh(torch.tanh(x @ one) @ other).sum().backward()

    session = record(program)
    (measured,) = _fan_ins(session)
    (fan_in,) = measured.fan_ins
    assert session.graph(0).nodes[fan_in.node].name == "AccumulateGrad"
    assert first.grad is not None
    assert second.grad is not None
    _check(fan_in, [first.grad, second.grad])


def test_both_sides_of_an_activation_are_measured(record: Record) -> None:
    x = torch.tensor([[-9.0, 0.0, 9.0, 0.5]], requires_grad=True)
    arrived = torch.tensor([[1.0, 2.0, 3.0, 4.0]])

    def program() -> None:
        (torch.sigmoid(x * 1.0) * arrived).sum().backward()

    (measured,) = _fan_ins(record(program))
    (passage,) = measured.passages
    sigmoid = torch.sigmoid(x.detach())
    assert passage.arrived == pytest.approx(arrived.norm().item(), rel=1e-6)
    assert passage.passed == pytest.approx((arrived * sigmoid * (1 - sigmoid)).norm().item(), rel=1e-6)
    assert (passage.lost, passage.width) == (0.5, 4)


def test_a_branch_that_brings_no_gradient_counts_as_0(record: Record) -> None:
    class Stops(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            del ctx
            return x * 2

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> Any:
            return None

    x = torch.ones(4, requires_grad=True)

    def program() -> None:
        y = x * 3
        (Stops.apply(y) + y).sum().backward()  # pyright: ignore[reportUnknownMemberType] # untyped in torch

    (measured,) = _fan_ins(record(program))
    (fan_in,) = measured.fan_ins
    assert sorted(fan_in.norms) == [0.0, 2.0]
    assert sorted(fan_in.shares) == [0.0, 1.0]
    assert fan_in.cosines == [0.0]


def _residual_program(steps: int) -> Callable[[], object]:
    def program() -> object:
        stem, block, head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        parameters = [*stem.parameters(), *block.parameters(), *head.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            x = stem(torch.randn(3, 4))
            head(x + torch.tanh(block(x))).square().mean().backward()
            optimizer.step()
        return parameters

    return program


@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_training_keeps_its_bits(record: Record, detail: Any) -> None:
    check_exact(record, _residual_program(5), detail)


def test_calls_are_measured_at_the_powers_of_two(record: Record) -> None:
    torch.manual_seed(0)
    found = _fan_ins(record(_residual_program(20)))
    assert [each.step for each in found] == [0, 1, 2, 4, 8, 16]


class _Token:
    """Lives as long as the node that has it among its metadata."""


def test_nothing_is_kept_after_the_call(record: Record) -> None:
    seen: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def program() -> None:
        x = torch.ones(4, requires_grad=True)
        y = x * 3
        branch = y * 2
        branch.register_hook(lambda gradient: seen.append(weakref.ref(gradient)))
        y.register_hook(lambda gradient: seen.append(weakref.ref(gradient)))
        token = _Token()
        node = weakref.ref(token)
        assert y.grad_fn is not None
        y.grad_fn.metadata["token"] = token  # pyright: ignore[reportIndexIssue] # a property that torch types as a method
        (branch + y).sum().backward()
        del y, branch, token
        gc.collect()
        alive.append(sum(each() is not None for each in seen) + (node() is not None))

    assert len(_fan_ins(record(program))) == 1
    assert len(seen) == 2
    assert alive == [0]


def test_what_does_not_fit_is_left_out_and_the_rest_is_not(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "HELD_BYTES", 1000)
    large, small = torch.ones(1000, requires_grad=True), torch.ones(10, requires_grad=True)

    def program() -> None:
        one, other = large * 2, small * 2
        (one.sum() + one.square().sum() + other.sum() + other.square().sum()).backward()

    (measured,) = _fan_ins(record(program))
    assert [sorted(each.norms) for each in measured.fan_ins] == [[pytest.approx(10**0.5), pytest.approx(160**0.5)]]


def test_a_backward_that_fails_leaves_no_hook_and_the_next_is_measured(record: Record) -> None:
    def program() -> None:
        x = torch.ones(4, requires_grad=True)
        for fails in (True, False):
            y = x * 3
            branch = y * 2

            def hook(_: Tensor, *, fails: bool = fails) -> None:
                if fails:
                    raise ValueError("of the program")

            branch.register_hook(hook)
            total = (branch + y).sum()
            if fails:
                with pytest.raises(ValueError, match="of the program"):
                    total.backward()
            else:
                total.backward()

    assert len(_fan_ins(record(program))) == 1


def test_of_many_fan_ins_leaves_and_those_near_the_loss_come_first() -> None:
    meetings = [capture.Meeting(node, 0, ((node + 1, 0), (node + 2, 0))) for node in range(1000)]
    chosen = capture._most_telling(meetings, [node < 10 for node in range(1000)])  # pyright: ignore[reportPrivateUsage] # what it promises
    nodes = [meeting.node for meeting in chosen]
    assert len(nodes) <= capture.MOST_FAN_INS
    assert nodes[:10] == list(range(10))
    assert nodes[-32:] == list(range(968, 1000))
    assert nodes == sorted(set(nodes))


def test_micro_batches_are_measured_against_what_came_before_them(record: Record) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    parts = [torch.randn(5, 3), 2 * torch.randn(5, 3), -torch.randn(5, 3)]
    alone = [torch.autograd.grad(model(part).square().sum(), model.weight)[0] for part in parts]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def program() -> None:
        for part in parts:
            model(part).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        model(parts[0]).square().sum().backward()
        optimizer.step()

    session = record(program, model)
    calls = [each for each in _fan_ins(session) if each.step == 0]
    graph = session.graph(0)
    weight = next(node.index for node in graph.nodes if node.parameter == "weight")
    measured = [fan_in for call in calls for fan_in in call.fan_ins if EARLIER_CALLS in fan_in.sources]
    of_weight = [fan_in for fan_in in measured if fan_in.node == weight]
    assert [fan_in.sources for fan_in in of_weight] == [[EARLIER_CALLS, weight]] * 2
    _check(of_weight[0], alone[:2])
    _check(of_weight[1], [alone[0] + alone[1], alone[2]])
    later = [fan_in for each in _fan_ins(session) if each.step == 1 for fan_in in each.fan_ins]
    assert not [fan_in for fan_in in later if EARLIER_CALLS in fan_in.sources]


def test_gradients_of_a_step_that_was_taken_are_no_earlier_calls(record: Record) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def program() -> None:
        for _ in range(3):  # without zero_grad
            model(torch.ones(4, 3)).sum().backward()
            optimizer.step()

    measured = [fan_in for each in _fan_ins(record(program, model)) for fan_in in each.fan_ins]
    assert not [fan_in for fan_in in measured if EARLIER_CALLS in fan_in.sources]

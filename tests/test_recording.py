"""What is recorded of a training program: its gradients, graph and steps, whatever kind it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import gradwatch
from models import gpt, mlp, run_alone

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session


def node_named(session: Session, name: str, step: int = 0) -> Any:
    return next(node for node in session.graph(step).nodes if node.name == name)


# The example by hand: y = w x + b, loss = y², at x = 2, w = 1, b = 0.5.


@pytest.fixture
def example(record: Record) -> Session:
    def program() -> None:
        w = torch.tensor(1.0, requires_grad=True)
        b = torch.tensor(0.5, requires_grad=True)
        x = torch.tensor(2.0)
        y = w * x + b
        loss = y**2
        loss.backward()

    return record(program, detail="nodes")


def test_the_example_by_hand_has_its_gradients_and_loss(example: Session) -> None:
    assert example.parameters.names == ["w", "b"]
    assert example.gradient("w").mean.tolist() == [10.0]
    assert example.gradient("b").mean.tolist() == [5.0]
    assert node_named(example, "AddBackward0").gradient["mean"] == 5.0  # of y
    assert node_named(example, "PowBackward0").gradient["mean"] == 1.0  # of the loss itself
    assert [step.loss for step in example.steps] == [6.25]


def test_the_example_by_hand_has_its_graph(example: Session) -> None:
    graph = example.graph(0)
    names = [node.parameter or node.name for node in graph.nodes]
    assert names == ["w", "b", "MulBackward0", "AddBackward0", "PowBackward0"]
    edges = [(names[edge.source], names[edge.target], edge.slot, edge.input_nr) for edge in graph.edges]
    assert sorted(edges) == [
        ("AddBackward0", "MulBackward0", 0, 0),
        ("AddBackward0", "b", 1, 0),
        ("MulBackward0", "w", 0, 0),
        ("PowBackward0", "AddBackward0", 0, 0),
    ]
    assert [names[root] for root in graph.roots] == ["PowBackward0"]
    assert all(node.outputs == [((), "float32")] for node in graph.nodes)


def test_the_example_by_hand_says_what_it_saved(example: Session) -> None:
    saved = {node.name: [(each.role, each.shape, each.bytes) for each in node.saved] for node in example.graph(0).nodes}
    assert saved["MulBackward0"] == [("other", (), 4)]  # x; w is not needed, as x asks for no gradient
    assert saved["PowBackward0"] == [("self", (), 4)]  # y
    assert saved["AddBackward0"] == saved["AccumulateGrad"] == []
    assert example.held(0).total_bytes == 8


# Graphs


def test_a_forward_that_branches_on_its_data_shows_two_variants(record: Record) -> None:
    def program() -> None:
        x = torch.tensor(1.5, requires_grad=True)
        for exponent in (2, 3, 2, 2, 3):
            (x**2 if exponent == 2 else x * x * x).backward()

    session = record(program)
    assert [variant.steps.tolist() for variant in session.variants] == [[0, 2, 3], [1, 4]]
    assert [node.name for node in session.graph(3).nodes] == ["AccumulateGrad", "PowBackward0"]
    assert session.graph(0).variant_of is None
    assert session.graph(1).variant_of == session.graph(0).id


def test_a_second_derivative_is_recorded_as_one(record: Record) -> None:
    def program() -> None:
        x = torch.tensor(3.0, requires_grad=True)
        optimizer = torch.optim.SGD([x], lr=0.1)
        (first,) = torch.autograd.grad(x**3, x, create_graph=True)
        first.backward()
        optimizer.step()

    session = record(program, detail="nodes")
    first, second = session.steps[0].backwards
    assert (first.call, first.create_graph, second.call, second.create_graph) == ("grad", True, "backward", False)
    assert not any(node.in_backward for node in first.graph.nodes)
    made_in_backward = [node.name for node in second.graph.nodes if node.in_backward]
    made_in_forward = [node.name for node in second.graph.nodes if not node.in_backward]
    assert "MulBackward0" in made_in_backward
    assert set(made_in_forward) <= {"AccumulateGrad", "PowBackward0"}
    assert session.gradient("x").mean.tolist() == [18.0]


def test_a_chain_of_100000_nodes_is_recorded_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    run_alone(f"""
        import torch, gradwatch
        with gradwatch.watch(path={str(path)!r}):
            x = torch.tensor(1.0, requires_grad=True)
            y = x
            for _ in range(100_000):
                y = -y
            y.backward()
            del y
            print("freed")
    """)
    with gradwatch.open(path) as session:
        graph = session.graph(0)
        assert (len(graph.nodes), len(graph.edges)) == (100_001, 100_000)
        assert session.gradient("x").mean.tolist() == [1.0]


def test_the_same_structure_is_stored_once(record: Record) -> None:
    program = gpt()
    session = record(lambda: [program.step() for _ in range(4)], program.model)
    assert [variant.steps.tolist() for variant in session.variants] == [[0, 1, 2, 3]]


# Steps


def test_every_optimizer_step_is_a_step_with_its_loss(record: Record) -> None:
    program = mlp()
    losses: list[float] = []
    session = record(lambda: losses.extend(program.step() for _ in range(5)), program.model)
    assert [(step.number, step.source, step.complete) for step in session.steps] == [
        (number, "optimizer", True) for number in range(5)
    ]
    assert [step.loss for step in session.steps] == losses


def test_without_an_optimizer_each_outermost_backward_is_a_step(record: Record) -> None:
    layer = nn.Linear(3, 3)

    def program() -> None:
        for _ in range(4):
            layer(torch.ones(2, 3)).sum().backward()

    session = record(program, layer)
    assert [(step.source, step.backward_count) for step in session.steps] == [("backward", 1)] * 4


def test_micro_batches_of_a_step_are_kept_apart(record: Record) -> None:
    layer = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def program() -> None:
        for _ in range(2):
            optimizer.zero_grad()
            for size in (1.0, 2.0, 3.0):
                layer(torch.full((1, 3), size)).sum().backward()
            optimizer.step()

    session = record(program, layer)
    assert [(step.backward_count, step.optimizer_count) for step in session.steps] == [(3, 1)] * 2
    each = session.gradient("weight", micro_batches=True)
    assert each.max.tolist() == [1.0, 3.0, 6.0] * 2  # `.grad` as accumulated so far
    assert each.backward.tolist() == [0, 1, 2] * 2
    assert session.gradient("weight").max.tolist() == [6.0, 6.0]


def test_optimizers_that_take_turns_share_a_step(record: Record) -> None:
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.1)

    def program() -> None:
        for _ in range(4):
            of_critic.zero_grad()
            (critic(generator(torch.ones(3, 2)).detach()).mean() - critic(torch.ones(3, 2)).mean()).backward()
            of_critic.step()
            of_generator.zero_grad()
            (-critic(generator(torch.ones(3, 2))).mean()).backward()
            of_generator.step()

    session = record(program, {"generator": generator, "critic": critic})
    counts = [(step.backward_count, step.optimizer_count) for step in session.steps]
    # Nothing tells in the first cycle that a second optimizer will come.
    assert counts[-2:] == [(2, 2), (2, 2)]
    assert sum(backwards for backwards, _ in counts) == 8
    assert len(counts) <= 5


def test_recorder_step_alone_ends_steps_once_it_was_called(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    with gradwatch.watch(layer, tmp_path / "run.gradwatch") as recorder:
        for _ in range(3):
            layer(torch.ones(1, 2)).sum().backward()
            layer(torch.ones(1, 2)).sum().backward()
            recorder.step()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        found = [(step.source, step.backward_count) for step in session.steps]
        assert found[-2:] == [("recorder.step", 2)] * 2  # of the first it was not known yet
        assert sum(backwards for _, backwards in found) == 6


def test_autograd_grad_is_recorded_as_what_it_is(record: Record) -> None:
    layer = nn.Linear(2, 2)

    def program() -> None:
        torch.autograd.grad(layer(torch.ones(1, 2)).sum(), list(layer.parameters()))

    session = record(program, layer)
    (call,) = session.steps[0].backwards
    assert (call.call, call.has_inputs) == ("grad", True)
    assert len(call.graph.nodes) > 0
    assert len(session.gradient("weight")) == 0  # nothing was accumulated


def test_a_graph_run_twice_under_retain_graph_is_two_calls_of_one_structure(record: Record) -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def program() -> None:
        loss = layer(torch.ones(1, 2)).exp().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()

    session = record(program, layer)
    first, second = session.steps[0].backwards
    assert (first.retain_graph, second.retain_graph) == (True, False)
    assert first.graph_id == second.graph_id
    assert first.held_bytes == second.held_bytes > 0
    norms = session.gradient("weight", micro_batches=True).norm
    np.testing.assert_allclose(norms[1], 2 * norms[0], rtol=1e-6)
    modules = session.gradients_at(0, "module", micro_batches=True)
    assert sorted(set(modules.backward.tolist())) == [0, 1]


# Optimizers of every kind


def test_every_call_of_a_closure_is_in_its_optimizers_step(record: Record) -> None:
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=5)
    calls: list[int] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (x**4).sum()
        loss.backward()
        calls[-1] += 1
        return loss

    def program() -> None:
        for _ in range(3):
            calls.append(0)
            optimizer.step(closure)

    session = record(program)
    assert [step.backward_count for step in session.steps] == calls
    assert [step.source for step in session.steps] == ["optimizer"] * 3


def test_gradients_freed_by_an_optimizer_inside_backward_are_seen(record: Record) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizers: dict[torch.Tensor, torch.optim.Optimizer]
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.1) for parameter in model.parameters()}

    def step_and_free(leaf: torch.Tensor) -> None:
        optimizers[leaf].step()
        optimizers[leaf].zero_grad()

    def program() -> None:
        handles = [p.register_post_accumulate_grad_hook(step_and_free) for p in model.parameters()]
        for _ in range(4):
            model(torch.ones(2, 3)).sum().backward()
        for handle in handles:
            handle.remove()

    session = record(program, model)
    assert [(step.backward_count, step.optimizer_count) for step in session.steps][-2:] == [(1, 4), (1, 4)]
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert len(session.gradient(name)) == 4
        assert (session.gradient(name).norm > 0).all()


def test_a_clipped_gradient_is_recorded_as_accumulated_and_as_used(record: Record) -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def program() -> None:
        layer(torch.tensor([[3.0, 4.0]])).sum().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()

    session = record(program, layer)
    gradient = session.gradient("weight")
    assert gradient.norm.tolist() == [5.0]
    np.testing.assert_allclose(gradient.gradient_norm_at_step, [1.0], rtol=1e-5)


def test_a_gradient_that_is_used_again_keeps_its_own_norm(record: Record) -> None:
    old, new = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([old, new], lr=0.0)

    def program() -> None:
        (7 * old).sum().backward()
        for factor in (2, 3, 4):
            new.grad = None
            (factor * new).sum().backward()
            optimizer.step()

    session = record(program)
    assert session.gradient("old").gradient_norm_at_step.tolist() == [7.0, 7.0, 7.0]
    assert session.gradient("new").gradient_norm_at_step.tolist() == [2.0, 3.0, 4.0]

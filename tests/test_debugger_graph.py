"""The graph at a stop: its nodes, modules and lines, what it holds, and what is said where it cannot be seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from debugger_questions import Answer, array, forget_compilations, read, snapshot
from gradwatch.capture import shown, stop_tables
from gradwatch.capture.attach import attach, attachment, detach
from gradwatch.capture.late import snapshot as late_session
from gradwatch.debugger import answer
from gradwatch.records import TENSOR_CLASSES


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def test_graph_and_ledger_are_what_the_late_form_reads() -> None:
    model = small_model()
    x = torch.ones(16, 4)
    loss = model(x).mean()
    found = read(answer(snapshot()))
    session = late_session(loss, names={"model": model, "x": x})
    assert found.root == "loss"
    assert found.node_names == [node.name for node in session.graph(0).nodes]
    backward = found.record.backward
    assert backward is not None
    assert dict(zip(TENSOR_CLASSES, backward.class_bytes, strict=True)) == session.held(0).class_bytes
    assert backward.held_bytes == 16 * 4 * 4 + 16 * 8 * 4  # the batch, and ReLU's result


def test_parts_that_were_not_asked_for_are_not_there() -> None:
    loss = small_model()(torch.ones(16, 4)).mean()
    graph_only = read(answer(snapshot(parts=["graph"]))).record
    assert (graph_only.ledger, graph_only.states) == (None, None)
    assert graph_only.graph is not None
    assert graph_only.backward is not None
    assert graph_only.backward.held_bytes == -1
    neither = read(answer(snapshot(parts=["gradients"]))).record
    assert neither.graph is None
    del loss


def test_modules_come_from_parameters_where_nothing_saw_the_forward_and_that_is_said() -> None:
    model = small_model()
    loss = model(torch.ones(16, 4)).mean()
    found = read(answer(snapshot()))
    pairs = set(zip(found.node_names, found.node_modules, strict=True))
    assert ("AddmmBackward0", "0") in pairs
    assert ("AddmmBackward0", "2") in pairs
    assert ("ReluBackward0", "-") in pairs
    assert any("without a recorder" in notice.text for notice in found.record.notices)
    del loss


class Scaled(nn.Module):
    """Two parameters of its own, with operations between them; called from a loop or once."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.ones(4))
        self.after = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.before).sin().exp() * self.after


def test_operations_between_two_of_a_module_that_is_called_once_are_its_own() -> None:
    block = Scaled()
    loss = block(torch.ones(4)).cos().sum()
    found = read(answer(snapshot()))
    by_name = dict(zip(found.node_names, found.node_modules, strict=True))
    assert (by_name["SinBackward0"], by_name["ExpBackward0"]) == ("", "")
    assert by_name["CosBackward0"] == "-"
    del loss


def test_between_two_calls_of_one_module_nothing_is_placed() -> None:
    block = Scaled()
    x = block(torch.ones(4)).cos()
    loss = block(x).sum()
    found = read(answer(snapshot()))
    assert dict(zip(found.node_names, found.node_modules, strict=True))["CosBackward0"] == "-"
    del loss


def test_parameters_that_are_used_from_outside_place_nothing() -> None:
    block, other = Scaled(), nn.Linear(4, 4)
    loss = (other((torch.ones(1, 4) * block.before).sin()) * block.after).sum()
    found = read(answer(snapshot()))
    assert dict(zip(found.node_names, found.node_modules, strict=True))["SinBackward0"] == "-"
    del loss


def test_leaves_that_the_frame_does_not_reach_are_named_by_its_callers() -> None:
    model = small_model()

    def inner(hidden: torch.Tensor) -> Answer:
        return read(answer(snapshot()))

    found = inner(model(torch.ones(2, 4)))
    assert set(found.names) == {"model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"}
    assert list(found.variables) == ["hidden"]


def test_inside_a_submodule_its_own_names_come_first() -> None:
    answers: list[Answer] = []

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.linear(x)
            answers.append(read(answer(snapshot())))
            return y

    model = nn.Sequential(nn.Linear(4, 4), Inner())
    model(torch.ones(2, 4))
    assert answers[0].names[:2] == ["self.linear.weight", "self.linear.bias"]
    assert {"model.0.weight", "model.0.bias"} <= set(answers[0].names)
    assert len(answers[0].names) == 4
    assert all(not each.aliases for each in answers[0].record.parameters)


def test_a_graph_that_backward_has_run_through_says_so() -> None:
    loss = small_model()(torch.ones(16, 4)).mean()
    loss.backward()
    found = read(answer(snapshot()))
    assert found.record.backward is not None
    assert found.record.backward.held_bytes == 0
    assert any("have let go of them" in notice.text for notice in found.record.notices)


def test_checkpoints_are_labelled_and_not_run() -> None:
    calls: list[int] = []

    def body(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.sin().exp()

    x = torch.ones(3, requires_grad=True)
    out: Any = checkpoint(body, x, use_reentrant=False)
    loss = out.sum()
    found = read(answer(snapshot()))
    assert len(calls) == 1
    assert {label.label for label in found.graph.labels} == {"checkpointed"}
    del loss


def test_a_walk_that_runs_out_of_time_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    y = torch.ones(1, requires_grad=True)
    for _ in range(2000):
        y = y * 1.5
    found = read(answer(snapshot(budget_ms=0)))
    assert 0 < found.graph.node_count < 2000
    assert found.missing("graph") == found.missing("held") == "the time budget ended"
    assert found.node_names[-1] == "MulBackward0"
    assert array(found.graph.edge_target).max() < found.graph.node_count
    number = found.record.stop.number
    names = [node.name().removeprefix("torch::autograd::") for i in range(0, 600, 7) if (node := shown.node(number, i))]
    assert names == found.node_names[:600:7][: len(names)]  # the same part is walked again
    assert shown.node(number, found.graph.node_count) is None
    assert read(answer(snapshot())).graph.node_count == 2001
    y.backward()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # CUBE
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * 3 * x * x


def test_a_custom_function_knows_where_it_is_defined() -> None:
    out: Any = Cube.apply(torch.ones(2, requires_grad=True))
    loss = out.sum()
    found = read(answer(snapshot()))
    lines = dict(zip(found.node_names, found.node_lines, strict=True))
    assert lines["CubeBackward"].endswith("# CUBE") or lines["CubeBackward"] == "@staticmethod"
    assert lines["SumBackward0"] == ""
    del loss


def test_anomaly_mode_has_noted_the_lines() -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.autograd.set_detect_anomaly(mode=True, check_nan=False):
        y = x.sin()
        loss = y.sum()
    found = read(answer(snapshot()))
    lines = dict(zip(found.node_names, found.node_lines, strict=True))
    assert lines["SinBackward0"] == "y = x.sin()"
    assert lines["SumBackward0"] == "loss = y.sum()"
    assert loss.item() > 0


def test_what_was_shown_can_be_asked_for_until_the_next_stop() -> None:
    model = small_model()
    x = torch.ones(16, 4)
    loss = model(x).mean()
    found = read(answer(snapshot()))
    number = found.record.stop.number
    assert shown.parameter(number, 0) is model[0].weight
    assert shown.variable(number, list(found.variables).index("x")) is x
    assert shown.variable(number, list(found.variables).index("model")) is None  # no tensor
    assert shown.node(number, found.graph.node_count - 1) is loss.grad_fn
    assert shown.node(number, found.graph.node_count) is None
    assert stop_tables.parameter("model.2.bias") is model[2].bias
    assert dict(stop_tables.modules())["model.0"] is model[0]
    assert stop_tables.structure_of(found.graph.digest) is not None
    read(answer(snapshot()))
    assert shown.parameter(number, 0) is None
    assert shown.node(number, 0) is None


def test_what_was_shown_keeps_nothing_alive() -> None:
    import weakref

    def look() -> tuple[int, weakref.ref[Any], weakref.ref[Any]]:
        model = small_model()
        loss = model(torch.ones(16, 4)).mean()
        number = read(answer(snapshot())).record.stop.number
        assert shown.node(number, 3) is not None
        return number, weakref.ref(model), weakref.ref(loss)

    number, model, loss = look()
    assert (model(), loss()) == (None, None)
    assert shown.parameter(number, 0) is None
    assert shown.node(number, 3) is None


def test_from_the_first_stop_on_every_later_node_has_its_module_and_line() -> None:
    model = small_model()
    x = torch.ones(16, 4)
    attach()
    try:
        loss = model(x).mean()
        found = read(answer(snapshot()))
    finally:
        detach()
    pairs = dict(zip(found.node_names, found.node_modules, strict=True))
    assert (pairs["ReluBackward0"], pairs["MeanBackward0"]) == ("1", "-")
    lines = dict(zip(found.node_names, found.node_lines, strict=True))
    assert lines["ReluBackward0"] == "loss = model(x).mean()"
    assert found.record.notices == []
    assert {module.root for module in found.record.modules} == {"model"}
    assert loss.item() > -10


def test_of_a_step_that_had_begun_before_the_first_stop_both_halves_are_told() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    hidden = first(torch.ones(2, 4)).sin()
    attach()
    try:
        loss = second(hidden).exp().sum()
        found = read(answer(snapshot()))
    finally:
        detach()
    modules = dict(zip(found.node_names, found.node_modules, strict=True))
    assert modules["SinBackward0"] == "-"
    roots = {each.id: each.root for each in found.record.modules}
    of_addmm = [
        roots[module]
        for name, module in zip(found.node_names, array(found.graph.module).tolist(), strict=True)
        if name == "AddmmBackward0"
    ]
    assert of_addmm == ["first", "second"]
    assert any("were made before anything looked" in notice.text for notice in found.record.notices)
    del loss


def test_a_first_stop_inside_a_forward_blames_no_module_for_what_follows_it() -> None:
    class Stopping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            attach(None if attachment() else __import__("sys")._getframe())
            return self.linear(x).sin()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Stopping()
            self.last = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.inner(x).cos())

    model = Outer()
    try:
        loss = model(torch.ones(2, 4)).exp().sum()
        found = read(answer(snapshot()))
        modules = dict(zip(found.node_names, found.node_modules, strict=True))
        assert (modules["SinBackward0"], modules["CosBackward0"], modules["ExpBackward0"]) == ("-", "-", "-")
        addmm = {m for n, m in zip(found.node_names, found.node_modules, strict=True) if n == "AddmmBackward0"}
        assert addmm == {"inner.linear", "last"}
        loss = model(torch.ones(2, 4)).exp().sum()
        found = read(answer(snapshot()))
        modules = dict(zip(found.node_names, found.node_modules, strict=True))
        assert (modules["SinBackward0"], modules["CosBackward0"], modules["ExpBackward0"]) == ("inner", "", "-")
        assert found.record.notices == []
    finally:
        detach()
    del loss

"""What a live tensor's graph holds, read with no recorder running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import gradwatch
from gradwatch.capture.late import snapshot
from gradwatch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

F32 = 4


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def test_it_holds_exactly_what_a_recorder_would_have_found(tmp_path: Path) -> None:
    model = small_model()
    x = torch.ones(16, 4)
    held_now = snapshot(model(x).mean(), names={"model": model, "x": x}).held(0).class_bytes
    with gradwatch.watch(model, tmp_path / "run.gradwatch"):
        model(x).mean().backward()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert session.held(0).class_bytes == held_now
    assert held_now["input"] == 16 * 4 * F32
    assert held_now["activation"] == 16 * 8 * F32  # ReLU's result, which the second layer's input is
    assert held_now["parameter"] == 8 * F32  # the second layer's weight; the first one's input needs no gradient


def test_reading_changes_nothing_and_leaves_no_hook() -> None:
    model = small_model()
    loss = model(torch.ones(16, 4)).mean()
    first = snapshot(loss).held(0).total_bytes
    assert snapshot(loss).held(0).total_bytes == first
    assert all(not parameter._backward_hooks for parameter in model.parameters())
    assert all(parameter._post_accumulate_grad_hooks is None for parameter in model.parameters())  # type: ignore[attr-defined]  # untyped in torch
    loss.backward()
    with_reading: list[Any] = [parameter.grad for parameter in model.parameters()]
    again = small_model()
    again(torch.ones(16, 4)).mean().backward()
    without: list[Any] = [parameter.grad for parameter in again.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(with_reading, without, strict=True))


def test_operations_that_use_a_modules_parameters_are_its_own_and_others_are_left_open() -> None:
    model = small_model()
    loss = model(torch.ones(16, 4)).mean()
    session = snapshot(loss, names={"model": model})
    modules = {(node.name, node.module) for node in session.graph(0).nodes if node.parameter is None}
    assert ("AddmmBackward0", "0") in modules
    assert ("AddmmBackward0", "2") in modules
    assert ("ReluBackward0", "") in modules
    assert {parameter.name for parameter in session.parameters} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert any("without a recorder" in notice.text for notice in session.notices)


def test_a_tied_weight_gives_its_operations_no_module() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(tokens))

    model = Tied()
    loss = model(torch.tensor([1, 2])).sum()
    nodes = snapshot(loss, names={"model": model}).graph(0).nodes
    assert {node.module for node in nodes} == {""}
    assert snapshot(loss, names={"model": model}).parameters[0].aliases == ("head.weight",)


def test_a_running_recorder_lends_its_modules_and_lines(tmp_path: Path) -> None:
    model = small_model()
    with gradwatch.watch(model, tmp_path / "run.gradwatch", detail="nodes"):
        loss = model(torch.ones(16, 4)).mean()
        session = snapshot(loss)
        late = (session.held(0).by("module"), session.held(0).by("line"))
        loss.backward()
    assert session.notices == []
    assert all(label.rpartition(":")[0].endswith("test_late.py") for label, _ in late[1])
    with gradwatch.open(tmp_path / "run.gradwatch") as recorded:
        assert (recorded.held(0).by("module"), recorded.held(0).by("line")) == late
        pairs = zip(recorded.graph(0).nodes, session.graph(0).nodes, strict=True)
        texts = [(recorded.line_text(a.site), session.line_text(b.site)) for a, b in pairs if a.site >= 0]
    assert texts
    assert all(recorded_text == late_text for recorded_text, late_text in texts)


def test_what_backward_has_released_is_said_and_counts_nothing() -> None:
    model = small_model()
    loss = model(torch.ones(16, 4)).mean()
    loss.backward(retain_graph=True)
    assert snapshot(loss).held(0).total_bytes > 0
    loss.backward()
    session = snapshot(loss)
    assert session.held(0).total_bytes == 0
    assert any("have let go of them" in notice.text for notice in session.notices)


def test_a_checkpoint_is_labelled_and_not_run() -> None:
    calls: list[int] = []

    def body(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x.sin().exp()

    x = torch.ones(3, requires_grad=True)
    loss: Any = checkpoint(body, x, use_reentrant=False)
    session = snapshot(loss.sum())
    assert len(calls) == 1
    assert {node.label.label for node in session.graph(0).nodes if node.label} == {"checkpointed"}


def test_tensors_inside_containers_share_one_graph() -> None:
    model = small_model()
    out = model(torch.ones(16, 4))
    session = snapshot({"loss": out.mean(), "logits": (out,)})
    assert len(session.graph(0).roots) == 2


def test_a_chain_of_100_000_nodes_does_not_recurse() -> None:
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    assert len(snapshot(y, names={"x": x}).graph(0).nodes) == 100_001
    y.backward()  # takes the chain apart from its end: dropping it whole would recurse inside torch itself


def look_at_local_names() -> gradwatch.Session:
    w = torch.ones(3, requires_grad=True)
    x = torch.arange(3.0)
    return snapshot((w * x).sum())


def test_names_come_from_where_it_is_called() -> None:
    session = look_at_local_names()
    assert session.parameters.names == ["w"]
    assert session.held(0).class_bytes["input"] == 3 * F32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 3, "loss is of type int, not a tensor"),
        (lambda: torch.ones(2), "There is no graph behind loss: it does not require grad"),
        (lambda: torch.ones(2, requires_grad=True), "loss is a leaf: the graph begins at it"),
        (lambda: {"a": []}, "loss is of type dict, not a tensor"),
    ],
)
def test_what_has_no_graph_is_refused_in_words(make: Any, message: str) -> None:
    loss = make()
    with pytest.raises(UsageError, match=message):
        snapshot(loss)


def test_inside_a_functorch_transform_it_says_that_it_cannot_see() -> None:
    def loss_of(x: torch.Tensor) -> torch.Tensor:
        loss = (x * x).sum()
        with pytest.raises(UsageError, match="functorch"):
            snapshot(loss)
        return loss

    assert np.allclose(torch.func.grad(loss_of)(torch.ones(2)).numpy(), 2)

"""Gradients at a stop: their states and statistics, what changed since the stop before, and what cannot be read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from debugger_questions import Answer, array, read, snapshot
from gradwatch.capture import stop_gradients
from gradwatch.capture.attach import attach, detach
from gradwatch.capture.budget import Budget
from gradwatch.capture.stop_history import StopHistory
from gradwatch.debugger import answer


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def test_states_and_statistics_of_every_kind_of_gradient() -> None:
    model = small_model()
    unused = nn.Linear(2, 2)
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    w = torch.ones(4, requires_grad=True)
    model(torch.randn(5, 3)).sum().backward()
    w.grad = torch.tensor([math.nan, math.inf, 0.0, -3.0])
    holder = {"frozen": frozen}
    model[2].weight.grad.zero_()  # type: ignore[union-attr]  # backward made it
    found = read(answer(snapshot()))
    assert found.states == {
        **dict.fromkeys(["model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias", "w"], "present"),
        **dict.fromkeys(["unused.weight", "unused.bias"], "None"),
    }
    assert (found.statistic("nan")["w"], found.statistic("inf")["w"], found.statistic("zeros")["w"]) == (1, 1, 1)
    assert found.statistic("l2")["w"] == 3
    assert found.statistic("l2")["model.2.weight"] == 0
    gradient: Any = model[0].weight.grad
    assert found.statistic("l2")["model.0.weight"] == pytest.approx(gradient.norm().item())
    assert holder["frozen"].grad is None
    assert unused.weight.grad is None


def test_a_frozen_parameter_of_a_module_reads_frozen() -> None:
    model = small_model()
    model[0].requires_grad_(requires_grad=False)
    model(torch.randn(5, 3)).sum().backward()
    assert read(answer(snapshot())).states["model.0.weight"] == "frozen"


def test_histograms_come_when_they_are_asked_for() -> None:
    w = torch.ones(4, requires_grad=True)
    w.grad = torch.tensor([1.0, 1.0, 2.0, 0.0])
    (histogram,) = read(answer(snapshot())).record.histograms
    codes = array(histogram.codes)
    assert codes[47] == 1 + 8  # two values in [1, 2)
    assert codes[48] == 1
    assert (codes > 0).sum() == 2
    assert read(answer(snapshot(parts=["gradients"]))).record.histograms == []
    assert read(answer(snapshot(parts=["graph"]))).record.states is None


def test_what_changed_is_told_against_the_stop_before_and_not_the_question_before() -> None:
    model = small_model()
    x = torch.randn(5, 3)
    model(x).sum().backward()
    first = read(answer(snapshot(stop=1)))
    assert first.changed == set()
    assert all(math.isnan(norm) for norm in first.previous_norm.values())
    model[0].weight.grad.mul_(2)  # type: ignore[union-attr]  # in place: the same tensor, another version
    second = read(answer(snapshot(stop=2)))
    again = read(answer(snapshot(stop=2)))
    assert second.changed == again.changed == {"model.0.weight"}
    assert second.previous_norm == again.previous_norm == pytest.approx(first.statistic("l2"))
    assert second.record.stop.number == again.record.stop.number == first.record.stop.number + 1
    assert read(answer(snapshot(stop=3))).changed == set()


def test_without_a_number_every_question_is_a_new_stop() -> None:
    w = torch.ones(4, requires_grad=True)
    w.grad = torch.ones(4)
    first = read(answer(snapshot())).record.stop.number
    w.grad = torch.ones(4)  # another tensor, of the same version
    second = read(answer(snapshot()))
    assert second.record.stop.number == first + 1
    assert second.changed == {"w"}
    w.grad = None
    assert read(answer(snapshot())).changed == {"w"}


def test_another_frame_of_the_same_stop_compares_with_the_stop_before_too() -> None:
    w, v = torch.ones(4, requires_grad=True), torch.ones(4, requires_grad=True)

    def inner(v: torch.Tensor) -> Answer:
        return read(answer(snapshot(stop="b")))

    w.grad, v.grad = torch.ones(4), torch.ones(4)
    read(answer(snapshot(stop="a")))
    v.grad.add_(1)
    assert inner(v).changed == {"v"}
    assert read(answer(snapshot(stop="b"))).changed == {"v"}


def test_an_identity_that_is_used_again_by_another_tensor_is_no_proof_that_nothing_changed() -> None:
    history = StopHistory()
    leaf = torch.ones(2, requires_grad=True)
    history.begin(1)
    history.note(leaf, torch.ones(2), 1.0, (-1, -1, -1, 1))  # gone at once: its address is free
    history.begin(2)
    gradient = torch.ones(2)
    assert history.note(leaf, gradient, 1.0, (-1, -1, -1, 2)).changed
    history.begin(3)
    assert not history.note(leaf, gradient, 1.0, (-1, -1, -1, 3)).changed


def test_stale_counts_the_optimizer_s_steps_since_a_gradient_was_written() -> None:
    torch.manual_seed(0)
    used, unused = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.Adam([*used.parameters(), *unused.parameters()])
    unused(torch.ones(1, 2)).sum().backward()
    ages: list[int] = []
    for _ in range(4):
        for parameter in used.parameters():
            parameter.grad = None
        used(torch.ones(1, 2)).sum().backward()
        found = read(answer(snapshot()))
        ages.append(found.stale["unused.weight"])
        assert found.stale["used.weight"] == 0
        optimizer.step()
    assert ages == [0, 1, 2, 3]
    found = read(answer(snapshot()))
    assert found.record.stop.step == 4
    assert found.record.states is not None
    assert found.record.states.stale_unit == "steps"


def test_steps_of_an_optimizer_that_counts_none_are_counted_from_the_first_stop_on() -> None:
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(2)
    optimizer = torch.optim.SGD([w], lr=0.1)
    attach()
    try:
        assert read(answer(snapshot())).stale["w"] == 0
        optimizer.step()
        optimizer.step()
        found = read(answer(snapshot()))
    finally:
        detach()
    assert found.stale["w"] == 2
    assert found.record.stop.step == -1  # of the whole run nothing is known


def test_where_nothing_counts_steps_stops_are_counted() -> None:
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(2)
    answers: list[Answer] = []
    for _ in range(3):
        answers.append(read(answer(snapshot())))  # noqa: PERF401  # a comprehension is a frame of its own
    assert answers[-1].stale["w"] == 2
    assert answers[-1].record.states is not None
    assert answers[-1].record.states.stale_unit == "stops"


class Raising(torch.Tensor):
    """A wrapper subclass that raises in everything it can."""

    armed = False

    @staticmethod
    def __new__(cls: Any, inner: torch.Tensor) -> Any:
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, requires_grad=True)  # type: ignore[attr-defined]  # untyped in torch
        made.inner = inner
        return made

    def __tensor_flatten__(self) -> Any:
        raise ValueError("no")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if cls.armed:
            raise ValueError("no dispatch")
        return func(*args, **(kwargs or {})) if "detach" not in str(func) else args[0]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if cls.armed:
            raise ValueError("no function")
        return super().__torch_function__(func, types, args, kwargs or {})


def gradients_of_all_kinds() -> dict[str, tuple[Any, str, str]]:
    """By name: a gradient, the state it must read, and words of the notice."""
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    return {
        "sparse": (torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([2.0]), (3,)), "present", ""),
        "csr": (torch.eye(3).to_sparse_csr(), "present", ""),
        "complex": (torch.tensor([3 + 4j, 0, 0]), "present", ""),
        "float8": (torch.ones(3).to(torch.float8_e4m3fn), "present", ""),
        "half": (torch.ones(3, dtype=torch.bfloat16), "present", ""),
        "holes": (torch.ones(6)[::2], "present", ""),
        "expanded": (torch.ones(1).expand(3), "present", ""),
        "empty": (torch.ones(0), "present", ""),
        "meta": (torch.ones(3, device="meta"), "unread", "meta tensor"),
        "quantized": (quantized, "unread", "quantized"),
        "freed": (freed, "unread", "its storage was freed"),
        "raising": (Raising(torch.ones(3)), "unread", "Raising could not be read"),
    }


class Lending(nn.Module):
    """Leaves whose `.grad` is whatever was lent: torch itself would refuse many of these pairs."""

    def __init__(self, lent: dict[str, Any]) -> None:
        super().__init__()
        for name, gradient in lent.items():
            self.register_parameter(f"{name}_", nn.Parameter(torch.ones(3)))
            getattr(self, f"{name}_").__class__ = type("Lender", (nn.Parameter,), {"grad": gradient})


def look_into(model: nn.Module) -> Answer:
    Raising.armed = True
    try:
        text = answer(snapshot())
    finally:
        Raising.armed = False
    assert model.training
    return read(text)


@pytest.mark.filterwarnings("ignore")  # torch's own, of kinds that are rare
def test_no_kind_of_gradient_is_too_much() -> None:
    kinds = gradients_of_all_kinds()
    found = look_into(Lending({name: gradient for name, (gradient, _, _) in kinds.items()}))
    assert found.states == {f"model.{name}_": state for name, (_, state, _) in kinds.items()}
    notices = {found.names[each.subject]: each.text for each in found.record.notices if each.subject >= 0}
    for name, (_, state, words) in kinds.items():
        if state == "unread":
            assert words in notices[f"model.{name}_"]
    assert found.statistic("l2")["model.sparse_"] == 2
    assert found.statistic("l2")["model.complex_"] == 5
    assert found.statistic("count")["model.sparse_"] == 3


def test_tensors_that_raise_in_everything_are_listed_without_what_they_refuse() -> None:
    hostile = Raising(torch.ones(3))
    fine = torch.ones(3, requires_grad=True)
    loss = (fine * 2).sum()
    Raising.armed = True
    try:
        text = answer(snapshot())
    finally:
        Raising.armed = False
    found = read(text)
    assert found.variables["hostile"].class_name == "Raising"
    assert found.root == "loss"
    assert found.graph.node_count == 3
    del hostile, loss


def test_uninitialized_fake_and_functorch_tensors_are_survived() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    lazy = nn.LazyLinear(3)
    with FakeTensorMode():
        fake = torch.ones(3, requires_grad=True)
        loss = (fake * 2).sum()
        inside = read(answer(snapshot()))
    outside = read(answer(snapshot()))
    for found in (inside, outside):
        assert found.states["lazy.weight"] == "None"
        assert found.record.graph is None
        assert any("traced by the compiler" in notice.text for notice in found.record.notices)
    answers: list[Answer] = []

    def of(x: torch.Tensor) -> torch.Tensor:
        y = (x * x).sum()
        answers.append(read(answer(snapshot())))
        return y

    torch.func.grad(of)(torch.ones(3))
    assert any("functorch" in notice.text for notice in answers[0].record.notices)
    del lazy, loss


def test_when_the_budget_ends_what_was_read_is_there_and_what_was_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_gradients, "CHUNK_BYTES", 4)
    model = small_model()
    model(torch.randn(5, 3)).sum().backward()
    calls = iter([False, True])
    monkeypatch.setattr(Budget, "is_over", lambda _: next(calls, True))
    reader = stop_gradients.GradientReader()
    budget = Budget(60_000)
    found = reader.read(list(model.parameters()), budget, histograms=False)
    assert [stop_gradients.GRADIENT_STATES[state] for state in found.state] == ["present", *["unread"] * 3]
    (missing,) = budget.missing
    assert (missing.part, missing.done, missing.total) == ("gradients", 1, 4)


def test_no_time_at_all_still_gives_an_answer() -> None:
    model = small_model()
    loss = model(torch.randn(5, 3)).sum()
    loss.backward(retain_graph=True)
    found = read(answer(snapshot(budget_ms=0)))
    assert found.record.state == "ready"
    assert set(found.states.values()) == {"unread"}
    assert found.missing("gradients") == "the time budget ended"


def test_a_tensor_too_large_for_the_time_left_is_left_out_and_a_small_one_is_read() -> None:
    small = torch.ones(3, requires_grad=True)
    large = torch.ones(1).expand(1 << 40).requires_grad_()
    small.grad = torch.ones(3)
    large.grad = torch.ones(1).expand(1 << 40)
    found = read(answer(snapshot(budget_ms=1000)))
    assert found.states == {"large": "unread", "small": "present"}
    assert found.missing("gradients")


class _NeverLands:
    """Rows whose device never answers."""

    pending = True
    why_not = None
    labels: dict[int, str] = {}  # noqa: RUF012  # as the real one's
    histogram = False

    def clear(self) -> None: ...

    def add_many(self, tensors: list[Any]) -> list[int]:
        return list(range(len(tensors)))

    def is_ready(self) -> bool:
        return False

    def columns(self, _: Any) -> Any:
        raise AssertionError("waits for the device")

    histogram_codes = columns


def test_a_device_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_gradients, "StatisticRows", _NeverLands)
    leaf = torch.ones(3, requires_grad=True)
    leaf.grad = torch.ones(3)
    budget = Budget(20)
    found = stop_gradients.GradientReader().read([leaf], budget, histograms=True)
    assert found.state == [stop_gradients.UNREAD]
    assert math.isnan(found.norms()[0])
    assert "the device had not answered" in budget.missing[-1].reason


def test_a_part_that_fails_costs_that_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("of ours")

    monkeypatch.setattr(stop_gradients.GradientReader, "read", broken)
    loss = small_model()(torch.randn(5, 3)).sum()
    found = read(answer(snapshot()))
    assert found.root == "loss"
    assert found.graph.node_count > 5
    assert found.missing("gradients") == "RuntimeError: of ours"
    assert np.isfinite(loss.item())

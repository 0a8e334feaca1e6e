"""Conditions that stop inside backward, without a debugger: what would be shown is collected instead."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradwatch import watch
from gradwatch.capture import conditions, engine_entry, stop_tables
from gradwatch.capture.attach import attach, detach
from gradwatch.capture.graph import roots_of, walk
from gradwatch.errors import UsageError
from gradwatch.records import Condition
from models import PROGRAMS, fingerprints, run_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Stops:
    """What was shown at each stop, as text: nothing of the graph is kept. `then` runs inside the next stop."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.reasons: list[str] = []
        self.shown: list[dict[str, Any]] = []
        self.by: list[tuple[int, str] | None] = []
        self.then: Callable[[], object] = lambda: None

    def __call__(self, stop: dict[str, Any]) -> None:
        self.nodes.append(stop["node"].name())
        self.reasons.append(stop["reason"])
        self.shown.append({name: _copy(value) for name, value in stop.items() if name != "node"})
        self.by.append(conditions.stopped())
        self.then()


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return tuple(map(_copy, value)) if isinstance(value, tuple) else value


@pytest.fixture
def stops() -> Iterator[Stops]:
    collected = Stops()
    before = conditions.pause_with(collected)
    yield collected
    conditions.set_conditions([])
    conditions.pause_with(before)
    stop_tables.remember_names({}, {})


def condition(kind: Any, number: int = 0, **fields: Any) -> Condition:
    return Condition(number, kind, **fields)


AUTOGRAD: Any = torch.autograd
FIRST = condition("first non-finite")


def leaf(*values: float) -> Tensor:
    return torch.tensor(values or (0.0, 1.0, 4.0), requires_grad=True)


def quietly(act: Callable[[], object]) -> Callable[[Tensor], None]:
    """A tensor hook that does something and leaves the gradient as it is."""

    def hook(_: Tensor) -> None:
        act()

    return hook


# First non-finite


def test_the_first_nonfinite_gradient_stops_at_the_node_that_made_it(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    (leaf().sqrt() * 2).sum().backward()
    assert stops.nodes == ["SqrtBackward0"]
    assert stops.reasons == ["Inf from SqrtBackward0: grad_inputs[0] (1 of 3)"]
    shown = stops.shown[0]
    assert shown["grad_outputs"][0].tolist() == [2, 2, 2]
    assert shown["grad_inputs"][0].isinf().tolist() == [True, False, False]
    assert shown["saved_tensors"]["result"].tolist() == [0, 1, 2]
    assert shown["module"] is None
    assert shown["forward_line"] is None
    assert stops.by == [(0, stops.reasons[0])]
    assert conditions.stopped() is None
    assert conditions.current()[0].hits == 1


def test_it_stops_once_a_call_and_again_in_the_next(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    for _ in range(2):
        ((leaf() * 1).sqrt() * 1).exp().sum().backward()
    assert stops.nodes == ["SqrtBackward0", "SqrtBackward0"]
    assert conditions.current()[0].hits == 2


def test_a_nonfinite_gradient_given_to_backward_stops_at_the_root(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    (leaf() * 2).backward(torch.tensor([1.0, float("nan"), 1.0]))
    assert stops.nodes == ["MulBackward0"]
    assert stops.reasons == ["NaN in grad_outputs[0] (1 of 3): it was given to backward"]
    assert stops.shown[0]["grad_inputs"] is None


def test_two_finite_gradients_whose_sum_overflows_are_found(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    both = leaf(1.0) * 1
    (both * 3e38 + both * 3e38).sum().backward()
    assert stops.nodes == ["MulBackward0"]
    assert "the sum of 2 gradients" in stops.reasons[0]


def test_what_a_hook_of_the_program_breaks_is_said_to_be_the_hooks(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    inner = leaf(1.0) * 1
    inner.register_hook(lambda grad: grad * float("inf"))
    (inner * 2).sum().backward()
    parameter = leaf(1.0)
    parameter.register_hook(lambda grad: grad * float("nan"))
    (parameter * 2).sum().backward()
    assert stops.nodes == ["MulBackward0", "torch::autograd::AccumulateGrad"]
    assert stops.reasons == [
        "Inf in grad_outputs[0] (1 of 1): a hook changed it before MulBackward0",
        "NaN in grad_outputs[0] (1 of 1): after a tensor hook",
    ]


def test_a_nested_call_is_part_of_the_call_around_it(stops: Stops) -> None:
    conditions.set_conditions([FIRST])

    def block(x: Tensor) -> Tensor:
        return (x * 0).sqrt() * 1

    checkpoint(block, leaf(1.0) * 1, use_reentrant=True).sum().backward()  # pyright: ignore[reportOptionalMemberAccess]
    assert stops.nodes == ["SqrtBackward0"]


# Norm, node, parameter, module


def test_a_norm_above_the_limit_stops_where_it_arrives(stops: Stops) -> None:
    conditions.set_conditions([condition("norm exceeds", limit=100.0)])
    x = leaf(1.0, 1.0)
    ((x * 1000).sin() * 3).sum().backward()
    assert stops.nodes == ["torch::autograd::AccumulateGrad"]
    assert stops.reasons[0].endswith("of grad_outputs[0] is above 100")
    conditions.set_conditions([condition("norm exceeds", limit=1e9)])
    ((x * 1000).sin() * 3).sum().backward()
    assert len(stops.nodes) == 1


def test_a_node_chosen_in_a_graph_is_found_again_in_the_next_step(stops: Stops) -> None:
    def loss() -> Tensor:
        return ((leaf() * 2).exp() * 3).exp().sum()

    shown = walk(roots_of([loss()]))
    stop_tables.remember_structure("shown", shown)
    first_exp = shown.names.index("ExpBackward0")
    conditions.set_conditions([condition("node", node=first_exp, graph_digest="shown", name="ExpBackward0")])
    loss().backward()
    assert stops.nodes == ["ExpBackward0"]
    assert stops.shown[0]["saved_tensors"]["result"].tolist() == pytest.approx([1.0, 7.389, 2980.958], rel=1e-4)


def test_in_a_graph_of_another_structure_a_node_is_matched_by_name_and_module(stops: Stops) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    stop_tables.remember_names({}, {f"model.{i}": layer for i, layer in enumerate(model)})
    conditions.set_conditions([condition("node", node=3, graph_digest="?", name="AddmmBackward0", module="model.0")])
    (model(torch.ones(1, 2)) * 2).sum().backward()
    assert stops.nodes == ["AddmmBackward0"]
    assert stops.shown[0]["module"] is model[0]
    assert stops.reasons == ["Break at node: AddmmBackward0 (model.0)"]


def test_a_node_of_another_module_or_line_is_not_taken_for_it(stops: Stops) -> None:
    conditions.set_conditions([condition("node", name="ExpBackward0", line="/somewhere.py:1")])
    leaf().exp().sum().backward()
    assert stops.nodes == []


def test_a_parameter_stops_when_its_gradient_is_there_but_not_yet_accumulated(stops: Stops) -> None:
    model = nn.Linear(3, 2)
    stop_tables.remember_names(dict(model.named_parameters(prefix="model")), {"model": model})
    seen: list[Tensor | None] = []
    stops.then = lambda: seen.append(model.weight.grad)
    conditions.set_conditions([condition("parameter", parameter="model.weight")])
    model(torch.ones(1, 3)).sum().backward()
    assert stops.nodes == ["torch::autograd::AccumulateGrad"]
    assert stops.shown[0]["grad_outputs"][0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert stops.reasons == ["Gradient of model.weight"]
    assert seen == [None]


def test_a_parameter_stops_in_autograd_grad_too_which_runs_no_node_for_it(stops: Stops) -> None:
    model = nn.Linear(3, 2)
    stop_tables.remember_names(dict(model.named_parameters(prefix="model")), {"model": model})
    conditions.set_conditions([condition("parameter", parameter="model.bias")])
    torch.autograd.grad(model(torch.ones(1, 3)).sum(), list(model.parameters()))
    assert stops.reasons == ["Gradient of model.bias"]
    torch.autograd.grad(model(torch.ones(1, 3)).sum(), [model.weight])
    assert len(stops.reasons) == 1


def test_a_module_stops_at_its_outputs_and_parameters(stops: Stops) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    stop_tables.remember_names({}, {"model": model, "model.0": model[0], "model.2": model[2]})
    conditions.set_conditions([condition("module", module="model.0")])
    model(torch.ones(1, 3)).sum().backward()
    assert stops.reasons == [
        "Gradient of an output of model.0",
        "Gradient of a parameter of model.0",
        "Gradient of a parameter of model.0",
    ]


def test_the_main_modules_names_are_known_without_a_snapshot(stops: Stops, monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    model = nn.Linear(2, 1)
    monkeypatch.setattr(__main__, "net", model, raising=False)
    conditions.set_conditions([condition("parameter", parameter="net.bias")])
    model(torch.ones(1, 2)).sum().backward()
    assert stops.reasons == ["Gradient of net.bias"]


def test_a_recorder_tells_the_module_and_the_line(stops: Stops, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))
    with watch(model, tmp_path / "run.gradwatch"):
        conditions.set_conditions([condition("node", name="SoftmaxBackward0")])
        model(torch.ones(1, 2)).sum().backward()
    assert stops.shown[0]["module"] is model[1]
    assert __file__ in stops.shown[0]["forward_line"]
    assert "1, test_conditions.py:" in stops.reasons[0]


def test_what_the_first_stop_attached_tells_the_module(stops: Stops) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1))
    stop_tables.remember_names({}, {"model": model, "model.0": model[0], "model.1": model[1]})
    attach()
    try:
        conditions.set_conditions([condition("node", name="SoftmaxBackward0", module="model.1")])
        model(torch.ones(1, 2)).sum().backward()
    finally:
        detach()
    assert stops.shown[0]["module"] is model[1]
    assert __file__ in stops.shown[0]["forward_line"]


# Next node


def test_next_node_walks_the_engines_order_one_node_a_time(stops: Stops) -> None:
    loss = ((leaf() * 2).exp() + 1).sum()
    stops.then = conditions.next_node
    conditions.next_node()
    loss.backward()
    assert stops.nodes == [
        "SumBackward0",
        "AddBackward0",
        "ExpBackward0",
        "MulBackward0",
        "torch::autograd::AccumulateGrad",
    ]
    assert [each.kind for each in conditions.current()] == ["next node"]  # it waits for the next call


def test_next_node_stops_once(stops: Stops) -> None:
    conditions.next_node()
    leaf().exp().sum().backward()
    assert stops.nodes == ["SumBackward0"]
    assert conditions.current() == []


def test_after_the_first_nonfinite_gradient_next_node_is_the_one_behind(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    stops.then = lambda: conditions.next_node() if len(stops.nodes) == 1 else None
    ((leaf() * 1).sqrt() * 2).sum().backward()
    assert stops.nodes == ["SqrtBackward0", "MulBackward0"]
    assert [each.kind for each in conditions.current()] == ["first non-finite"]


def test_any_stop_ends_the_step_that_was_asked_for(stops: Stops) -> None:
    conditions.set_conditions([condition("node", number=5, name="SumBackward0")])
    conditions.next_node()
    leaf().exp().sum().backward()
    assert stops.nodes == ["SumBackward0"]
    assert [each.id for each in conditions.current()] == [5]


def test_next_node_from_a_hook_of_the_program_is_the_next_pending_one(stops: Stops) -> None:
    inner = leaf() * 2
    handle = inner.register_hook(quietly(conditions.next_node))
    loss = inner.exp().sum()
    loss.backward(retain_graph=True)
    assert stops.nodes == ["MulBackward0"]
    handle.remove()
    loss.backward()
    assert stops.nodes == ["MulBackward0"]


def test_conditions_set_while_backward_runs_end_with_that_call_where_nothing_is_left_to_find(stops: Stops) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    stop_tables.remember_names(dict(model.named_parameters(prefix="model")), {})
    hidden = model[0](torch.ones(1, 2))
    wanted = condition("parameter", parameter="model.0.weight")
    hidden.register_hook(quietly(lambda: conditions.set_conditions([wanted])))
    loss = model[1](hidden).sum()
    alive: list[str] = []
    stops.then = lambda: alive.extend(_hooks_alive())
    loss.backward(retain_graph=True)
    assert stops.reasons == ["Gradient of model.0.weight"]
    assert alive
    assert _hooks_alive() == []


def _hooks_alive() -> list[str]:
    """Prehooks and post hooks of ours that anything in the process still holds."""
    gc.collect()
    return [each.__qualname__ for each in gc.get_objects() if type(each).__name__ == "function" and _is_ours(each)]


def _is_ours(function: Any) -> bool:
    return function.__module__ == "gradwatch.capture.backward_stops" and function.__name__ in ("prehook", "post_hook")


# Guests


def test_without_conditions_nothing_of_ours_is_there(stops: Stops) -> None:
    original = torch.autograd.graph._engine_run_backward
    conditions.set_conditions([FIRST])
    assert torch.autograd.graph._engine_run_backward is not original
    conditions.set_conditions([condition("first non-finite", enabled=False)])
    assert torch.autograd.graph._engine_run_backward is original
    assert AUTOGRAD._engine_run_backward is original
    (leaf() * 1).sqrt().sum().backward()
    assert stops.nodes == []


def test_no_hook_is_left_on_a_graph_that_is_kept(stops: Stops) -> None:
    loss = leaf().exp().sum()
    conditions.set_conditions([FIRST, condition("norm exceeds", 1, limit=1e9)])
    loss.backward(retain_graph=True)
    assert _hooks_alive() == []
    conditions.set_conditions([])
    loss.backward()


@pytest.mark.parametrize("name", ["mlp", "convnet", "lstm_cell"])
def test_training_is_bit_identical_with_conditions_that_do_not_hit(stops: Stops, name: str) -> None:
    expected = fingerprints(PROGRAMS[name](), 3)
    program = PROGRAMS[name]()
    stop_tables.remember_names({}, {"model": program.model})
    conditions.set_conditions([FIRST, condition("norm exceeds", 1, limit=1e12), condition("node", 2, name="None")])
    assert fingerprints(program, 3) == expected
    assert stops.nodes == []


def test_the_graph_dies_when_the_program_lets_go_of_it(stops: Stops) -> None:
    class Marked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.mark = Mark()
            marks.append(weakref.ref(ctx.mark))
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grad: Tensor) -> Tensor:
            return grad[0]

    marks: list[weakref.ref[Any]] = []
    conditions.set_conditions([FIRST, condition("node", 1, name="MarkedBackward")])
    x = leaf()
    Marked.apply(x).sum().backward()
    assert stops.nodes == ["MarkedBackward"]
    assert marks[0]() is None
    Marked.apply(x)  # never run backward
    assert marks[1]() is None


class Mark:
    pass


def test_conditions_and_a_recorder_come_and_go_in_any_order(stops: Stops, tmp_path: Path) -> None:
    original = torch.autograd.graph._engine_run_backward
    model = nn.Linear(2, 1)

    def step() -> None:
        model(torch.ones(1, 2)).sum().backward()

    recorder = watch(model, tmp_path / "first.gradwatch")
    conditions.set_conditions([condition("node", name="SumBackward0")])
    step()
    recorder.stop()
    step()
    recorder = watch(model, tmp_path / "second.gradwatch")
    step()
    conditions.set_conditions([])
    step()
    recorder.stop()
    assert len(stops.nodes) == 3
    assert torch.autograd.graph._engine_run_backward is original


def test_a_stand_in_of_someone_else_above_ours_stays(stops: Stops) -> None:
    original = AUTOGRAD._engine_run_backward
    conditions.set_conditions([FIRST])
    ours = AUTOGRAD._engine_run_backward
    calls: list[int] = []

    def theirs(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return ours(*arguments, **options)

    AUTOGRAD._engine_run_backward = theirs
    try:
        conditions.set_conditions([])
        assert AUTOGRAD._engine_run_backward is theirs
        leaf().exp().sum().backward()
        conditions.set_conditions([FIRST])
        (leaf() * 1).sqrt().sum().backward()
        assert len(calls) == 2
        assert stops.nodes == ["SqrtBackward0"]
    finally:
        AUTOGRAD._engine_run_backward = ours
        conditions.set_conditions([])
    assert AUTOGRAD._engine_run_backward is original


def test_what_fails_in_our_hooks_never_reaches_the_program(stops: Stops) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    stops.then = fail
    conditions.set_conditions([condition("node", name="ExpBackward0")])
    x = leaf(0.0)
    x.exp().sum().backward()
    x.exp().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0]
    assert len(stops.nodes) == 1  # switched off
    assert "on purpose" in conditions.notices()[0].text
    stops.then = lambda: None
    conditions.set_conditions([condition("node", name="ExpBackward0")])
    assert conditions.notices() == []
    x.exp().sum().backward()
    assert len(stops.nodes) == 2


def test_an_interrupt_at_a_stop_reaches_the_program(stops: Stops) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stops.then = interrupt
    conditions.set_conditions([condition("node", name="ExpBackward0")])
    with pytest.raises(KeyboardInterrupt):
        leaf().exp().sum().backward()
    assert conditions.stopped() is None


# Kinds of calls


def everything() -> list[Condition]:
    return [FIRST, condition("norm exceeds", 1, limit=1e12), condition("parameter", 2, parameter="model.weight")]


def test_double_backward_and_create_graph(stops: Stops) -> None:
    conditions.set_conditions(everything())
    x = leaf(1.0, 2.0)
    (grad,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    grad.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6, 12]


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints(stops: Stops, use_reentrant: bool) -> None:  # noqa: FBT001
    layer = nn.Linear(2, 2)
    stop_tables.remember_names({"model.weight": layer.weight}, {})
    x = torch.ones(1, 2, requires_grad=True)
    conditions.set_conditions(everything())
    checkpoint(layer, x, use_reentrant=use_reentrant).sum().backward()  # pyright: ignore[reportOptionalMemberAccess]
    assert stops.reasons == ["Gradient of model.weight"]


def test_several_threads_at_once(stops: Stops) -> None:
    conditions.set_conditions([FIRST])

    def work() -> None:
        for _ in range(20):
            (leaf() * 1).sqrt().sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stops.nodes == ["SqrtBackward0"] * 80
    assert conditions.notices() == []


def test_compiled_models_and_functorch(stops: Stops) -> None:
    conditions.set_conditions(everything())
    model = torch.compile(nn.Linear(2, 2), backend="aot_eager")
    model(torch.ones(1, 2)).sum().backward()
    gradient = torch.func.grad(lambda x: (x**2).sum())(torch.ones(3))
    assert gradient.tolist() == [2, 2, 2]
    assert conditions.notices() == []


def test_a_backward_inside_a_custom_backward(stops: Stops) -> None:
    class Nested(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grad: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf().exp().sum().backward()
            return grad[0]

    conditions.set_conditions([condition("node", name="ExpBackward0")])
    Nested.apply(leaf()).sum().backward()
    assert stops.nodes == ["ExpBackward0"]


def test_an_exception_of_the_program_in_backward_leaves_no_hook(stops: Stops) -> None:
    x = leaf()
    loss = x.exp().sum()

    def fail(_: Tensor) -> None:
        raise RuntimeError("the program's own")

    x.register_hook(fail)
    conditions.set_conditions([FIRST])
    with pytest.raises(RuntimeError, match="the program's own"):
        loss.backward(retain_graph=True)
    assert _hooks_alive() == []


def test_sparse_gradients_are_read(stops: Stops) -> None:
    embedding = nn.Embedding(10, 2, sparse=True)
    conditions.set_conditions([condition("norm exceeds", limit=1.0)])
    embedding(torch.tensor([1, 2])).sum().backward()
    assert "above 1" in stops.reasons[0]


# The door's side


def test_a_condition_that_stays_keeps_its_hits_and_another_with_its_id_does_not(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    leaf().sqrt().sum().backward()
    assert conditions.set_conditions([FIRST, condition("norm exceeds", 3, limit=1.0)])[0].hits == 1
    assert conditions.set_conditions([replace(FIRST, enabled=False)])[0].hits == 1
    assert conditions.set_conditions([condition("norm exceeds", limit=1.0)])[0].hits == 0


def test_changing_other_conditions_at_a_stop_does_not_stop_again_for_the_same_reason(stops: Stops) -> None:
    conditions.set_conditions([FIRST])
    stops.then = lambda: conditions.set_conditions([FIRST, condition("norm exceeds", 3, limit=1e30)])
    ((leaf(0.0) * 1).sqrt() * 1).sum().backward()
    assert stops.nodes[0] == "SqrtBackward0"
    assert [reason for reason in stops.reasons[1:] if "from" in reason] == []


def test_under_compiled_autograd_conditions_say_that_they_cannot_stop(stops: Stops) -> None:
    import torch._dynamo.compiled_autograd as compiled

    conditions.set_conditions([FIRST])
    enable: Any = compiled._enable
    with enable(torch.compile(backend="eager")):
        for _ in range(2):
            (leaf(0.0) * 1).sqrt().sum().backward()
    assert stops.nodes == []
    assert [notice.kind for notice in conditions.notices()] == ["not observable"]


def test_what_cannot_be_asked_is_refused_in_words(stops: Stops) -> None:
    with pytest.raises(UsageError, match="same id"):
        conditions.set_conditions([FIRST, FIRST])
    with pytest.raises(UsageError, match="names nothing"):
        conditions.set_conditions([condition("parameter")])
    with pytest.raises(UsageError, match="above 0"):
        conditions.set_conditions([condition("norm exceeds", limit=-1.0)])
    assert conditions.current() == []


def test_roots_of_running_calls_are_read_from_frames() -> None:
    found: list[int] = []
    x = leaf()

    def hook(_: Tensor) -> None:
        import sys

        found.append(len(engine_entry.running_outputs(sys._getframe())))

    x.register_hook(hook)
    x.exp().sum().backward()
    assert found == [1]
    assert engine_entry.running_outputs(None) == []


def test_conditions_need_torch_and_numpy_alone() -> None:
    printed = run_alone(
        """
        import sys
        for name in ("msgspec", "mcap", "zstandard", "rich", "debugpy"):
            sys.modules[name] = None
        import torch
        from gradwatch.capture import conditions
        from gradwatch.records import Condition
        conditions.pause_with(lambda stop: print(stop["reason"]))
        conditions.set_conditions([Condition(0, "first non-finite")])
        torch.zeros(2, requires_grad=True).sqrt().sum().backward()
        """
    )
    assert printed == "Inf from SqrtBackward0: grad_inputs[0] (2 of 2)\n"

"""Inside backward: what is said to have fired has, what is said to be pending has not, at every single stop."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import models
from debugger_questions import Answer, read, snapshot
from gradwatch.capture.graph import roots_of, walk
from gradwatch.debugger import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor


class Watch:
    """Hooks before and after every node of a graph; at each `stride`-th run of one the door is asked and checked."""

    def __init__(self, roots: Iterable[Tensor], stride: int = 1) -> None:
        self.nodes = walk(roots_of(list(roots))).nodes
        self.fired: set[int] = set()
        self.wrong: list[str] = []
        self.stops = 0
        self.unknown = 0
        self._stride = stride
        self._runs = 0
        for position, node in enumerate(self.nodes):
            node.register_prehook(self._before(position))
            node.register_hook(self._after(position))

    def _before(self, position: int) -> Callable[[Any], None]:
        def prehook(_: Any) -> None:
            self._runs += 1
            if self._runs % self._stride == 0:
                self._compare(position, read(answer(snapshot(parts=["graph"]))))

        return prehook

    def _after(self, position: int) -> Callable[[Any, Any], None]:
        def hook(_: Any, __: Any) -> None:
            self.fired.add(position)

        return hook

    def _compare(self, running: int, found: Answer) -> None:
        self.stops += 1
        assert found.record.stop.in_backward
        assert found.record.stop.running == running
        states = found.node_states
        self.unknown += states.count("unknown")
        for position, state in enumerate(states):
            true = "running" if position == running else "fired" if position in self.fired else "pending"
            if state not in (true, "unknown"):
                self.wrong.append(
                    f"at node {running}: node {position} {found.node_names[position]} is {true}, not {state}"
                )


def check(*roots: Tensor, stride: int = 1, run: Callable[[], object] | None = None) -> Watch:
    watch = Watch(roots, stride)
    if run is None:
        roots[0].backward()
    else:
        run()
    assert watch.wrong == []
    assert watch.stops > 2
    return watch


@pytest.mark.parametrize("name", ["mlp", "convnet", "lstm", "lstm_cell"])
def test_the_engine_s_order_tells_what_has_fired(name: str) -> None:
    watch = check(models.PROGRAMS[name]().loss(), stride=7 if name == "lstm_cell" else 1)
    assert len(watch.fired) == len(watch.nodes)


def test_in_a_transformer() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    watch = check(model(torch.randn(2, 5, 16)).square().mean(), stride=3)
    assert watch.unknown < watch.stops  # almost everything is known


def test_with_branches_that_join_and_leaves_used_twice() -> None:
    a, b = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)
    left, right = (a * b).sin(), (b.exp() + a).tanh()
    joined = left * right + a
    check((joined.sum() * joined.mean()).sqrt().nan_to_num())


def test_when_the_graph_is_kept_and_run_again() -> None:
    x = torch.randn(5, requires_grad=True)
    loss = (x.sin() * x.cos()).exp().sum()
    watch = Watch([loss])
    loss.backward(retain_graph=True)
    watch.fired.clear()
    loss.backward()
    assert watch.wrong == []
    assert watch.stops == 2 * len(watch.nodes)


def test_with_several_roots() -> None:
    x = torch.randn(5, requires_grad=True)
    y = x.sin()
    roots = [y.sum(), y.exp().sum(), (x * 2).sum()]
    check(*roots, run=lambda: torch.autograd.backward(roots))


def test_in_a_graph_that_backward_made() -> None:
    x = torch.randn(5, requires_grad=True)
    (first,) = torch.autograd.grad(x.sin().exp().sum(), x, create_graph=True)
    check((first * first).sum())


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return 2 * grads[0]


def test_through_a_custom_function() -> None:
    x = torch.randn(5, requires_grad=True)
    result: Any = Double.apply(x.sin())
    check((result.exp() * x).sum())


def test_a_custom_function_that_has_fired_holds_nothing_more() -> None:
    x = torch.randn(5, requires_grad=True)
    answers: list[Answer] = []
    hidden = x.sin()
    hidden.register_hook(lambda _: answers.append(read(answer(snapshot()))))
    result: Any = Double.apply(hidden)
    result.sum().backward()
    (found,) = answers
    assert found.record.missing == []
    assert found.node_states[found.node_names.index("DoubleBackward")] == "fired"
    assert any("let go of them" in notice.text for notice in found.record.notices)


def test_in_backward_modules_are_called_as_whoever_called_backward_does() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    answers: list[Answer] = []

    def hook(module: nn.Module, grad_input: Any, grad_output: Any) -> None:
        answers.append(read(answer(snapshot())))
        assert module.training

    model[0].register_full_backward_hook(hook)
    model(torch.ones(1, 3, requires_grad=True)).sum().backward()
    (found,) = answers
    assert found.names == ["model.0.weight", "model.0.bias", *found.names[2:]]
    assert found.variables["module"].kind == "module"
    assert all(not each.aliases for each in found.record.parameters)


def test_where_a_condition_stops_its_own_frame_is_not_taken_for_the_program_s() -> None:
    from gradwatch.capture import conditions
    from gradwatch.records import Condition

    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    answers: list[Answer] = []
    frame = """def backward(node, grad_outputs, grad_inputs, saved_tensors, module, forward_line, reason):
    ask()
"""
    namespace: dict[str, Any] = {"__name__": "__gradwatch__"}
    exec(compile(frame, "/project/gradwatch (stopped in backward).py", "exec"), namespace)
    namespace["ask"] = lambda: answers.append(read(evaluated_in_caller()))

    def evaluated_in_caller() -> str:
        where = {"file": "gradwatch (stopped in backward).py", "line": 2, "function": "backward"}
        return answer(snapshot(frame=where))

    assert read(answer(snapshot())).names == ["model.0.weight", "model.0.bias"]
    before = conditions.pause_with(lambda stop: namespace["backward"](**stop))
    try:
        conditions.set_conditions([Condition(7, "parameter", parameter="model.0.weight")])
        model(torch.ones(1, 3)).sum().backward()
    finally:
        conditions.set_conditions([])
        conditions.pause_with(before)
    found = answers[0]
    assert found.variables == {}
    assert {module.root for module in found.record.modules} == {"model"}
    assert found.record.stop.condition == 7
    assert found.record.stop.reason
    assert [each.id for each in found.record.conditions] == [7]
    assert found.node_names[found.record.stop.running] == "AccumulateGrad"
    assert found.of_running_node("count") == [9]


def test_in_the_graph_around_reentrant_checkpoints() -> None:
    layers = [nn.Linear(6, 6) for _ in range(3)]
    x: Any = torch.randn(2, 6, requires_grad=True)
    for layer in layers:
        x = checkpoint(lambda y, layer=layer: layer(y).tanh(), x, use_reentrant=True).sin()
    check(x.sum())


def test_only_nodes_on_a_way_to_the_inputs_fire() -> None:
    a, b = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)
    hidden = a.sin()
    loss = (hidden.exp() * b.cos()).sum()
    watch = check(loss, run=lambda: torch.autograd.grad(loss, [hidden]))
    assert "CosBackward0" in {watch.nodes[i].name() for i in range(len(watch.nodes)) if i not in watch.fired}
    loss = ((a * 2).exp() * b.cos()).sum()
    check(loss, run=lambda: loss.backward(inputs=[a]))


def test_when_hooks_change_what_flows() -> None:
    x = torch.randn(5, requires_grad=True)
    y = x.sin()
    y.register_hook(lambda grad: grad * 2)
    check((y * y).exp().sum())


def test_numbers_that_repeat_are_not_guessed_about() -> None:
    """Two threads number alike: where two nodes have the running one's number, the other is not known."""
    import threading

    made: list[Tensor] = []

    def forward() -> None:
        x = torch.randn(3, requires_grad=True)
        made.append(x.sin().exp().sum())

    for _ in range(2):
        thread = threading.Thread(target=forward)
        thread.start()
        thread.join()
    watch = check(made[0] + made[1])
    assert watch.unknown > 0


def test_the_running_call_is_shown_with_its_options_and_whose_gradient_is_still_to_come() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    answers: list[Answer] = []
    hidden = model[:2](torch.randn(4, 3))
    hidden.register_hook(lambda _: answers.append(read(answer(snapshot()))))
    model[2](hidden).sum().backward(retain_graph=True)
    (found,) = answers
    assert found.record.state == "ready"
    assert found.root is None
    assert found.record.stop.fired_source == "order"
    assert found.pending == {"model.0.weight", "model.0.bias"}
    assert found.states == {
        "model.0.weight": "None",
        "model.0.bias": "None",
        "model.2.weight": "present",
        "model.2.bias": "present",
    }
    backward = found.record.backward
    assert backward is not None
    assert (backward.call, backward.retain_graph, backward.has_inputs) == ("backward", True, False)


def test_another_variable_s_graph_can_be_looked_at_inside_backward() -> None:
    answers: list[Answer] = []
    x = torch.randn(3, requires_grad=True)
    other = (x * 3).sum()

    def hook(_: Tensor) -> None:
        answers.append(read(answer(snapshot(root="kept"))))
        kept.sum()

    kept = other
    y = x.sin()
    y.register_hook(hook)
    y.exp().sum().backward()
    (found,) = answers
    assert found.root == "kept"
    assert found.record.stop.in_backward
    assert (found.record.stop.graph, found.record.stop.running, found.record.stop.node_states) == (-1, -1, None)
    assert "MulBackward0" in found.node_names


def test_the_innermost_call_is_the_one_shown() -> None:
    answers: list[Answer] = []
    x = torch.randn(4, requires_grad=True)

    def body(y: Tensor) -> Tensor:
        z = y.sin()
        if torch.is_grad_enabled():
            z.register_hook(lambda _: answers.append(read(answer(snapshot()))))
        return z.exp()

    out: Any = checkpoint(body, x * 2, use_reentrant=True)
    out.cos().sum().backward()
    (found,) = answers
    assert "SinBackward0" in found.node_names
    assert "CosBackward0" not in found.node_names
    assert found.record.stop.running == found.node_names.index("SinBackward0")


def test_a_stop_in_a_recomputed_forward_waits_for_nothing() -> None:
    """Autograd holds the node's lock while a checkpoint recomputes inside it."""
    answers: list[Answer] = []
    x = torch.randn(4, requires_grad=True)

    def body(y: Tensor) -> Tensor:
        if torch._C._current_graph_task_id() >= 0:
            answers.append(read(answer(snapshot())))
        return functional.gelu(y.sin())

    out: Any = checkpoint(body, x * 2, use_reentrant=False)
    out.sum().backward()
    (found,) = answers
    assert found.record.stop.in_backward
    assert {label.label for label in found.graph.labels} == {"checkpointed"}


def test_on_autograd_s_own_thread_the_call_is_found_on_another_s_stack() -> None:
    """Re-entrant calls nested deeper than 60 move to a pool of the engine's."""
    import threading

    found: list[tuple[int, Answer]] = []

    def nested(depth: int) -> Tensor:
        class Reenter(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                return x.clone()

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                if depth < 70:
                    with torch.enable_grad():
                        nested(depth + 1).backward()
                elif not found:
                    found.append((threading.get_ident(), read(answer(snapshot()))))
                return grads[0]

        x = torch.ones(1, requires_grad=True)
        result: Any = Reenter.apply(x)
        return result.sum()

    nested(0).backward()
    ((thread, answered),) = found
    assert thread != threading.main_thread().ident
    assert answered.record.stop.in_backward
    assert answered.record.stop.running >= 0
    assert answered.node_states[answered.record.stop.running] == "running"


def test_what_reached_the_running_node_is_told_where_a_frame_holds_it() -> None:
    answers: dict[str, Answer] = {}

    def ask(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            answers[name] = read(answer(snapshot()))

        return hook

    class Asking(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 3

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            answers["custom"] = read(answer(snapshot()))
            return grads[0] * 3

    x = torch.ones(4, requires_grad=True)
    hidden = x * 2
    node: Any = hidden.grad_fn
    node.register_prehook(ask("before"))
    node.register_hook(ask("after"))
    hidden.register_hook(ask("tensor"))
    x.register_post_accumulate_grad_hook(ask("accumulated"))
    made: Any = Asking.apply(hidden)
    (made * torch.tensor([1.0, 0.0, math.nan, 2.0])).sum().backward()
    assert answers["custom"].of_running_node("nan") == [1]
    assert answers["custom"].of_running_node("l2") == [pytest.approx(math.sqrt(5))]
    assert answers["tensor"].of_running_node("l2") == [pytest.approx(3 * math.sqrt(5))]
    assert answers["before"].of_running_node("l2") == answers["tensor"].of_running_node("l2")
    assert answers["after"].of_running_node("l2") == [pytest.approx(n * math.sqrt(5)) for n in (3, 6)]
    assert answers["accumulated"].of_running_node("l2") == []  # the leaf itself is what that hook is given


def test_edges_of_a_chain_fire_from_its_end() -> None:
    y = x = torch.ones(1, requires_grad=True)
    for _ in range(5):
        y = y * 1.5
    answers: list[Answer] = []
    x.register_hook(lambda _: answers.append(read(answer(snapshot()))))
    y.backward()
    states = answers[0].node_states
    assert states == ["running", *["fired"] * 5]
    assert all(a >= b for a, b in pairwise(states))

"""Everything that autograd lets a program do is recorded and stays as it is: hooks, functions, calls, modes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules import module as global_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from exactness import calls_of, check_exact
from living_storages import without_numbers
from regimes import promise
from test_regime_programs import ROWS, WATCHED, WIDTH, batch, loss_of, network, on_a_thread
from trained import DETAILS, Program, holds, norms

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch.records import Detail

# The program's own hooks


def tensor_hooks(model: Any) -> Tensor:
    hidden = model[0](batch())
    hidden.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    hidden.retain_grad()
    return model[2](model[1](hidden)).sum()


def hook_parameters(model: Any, step: int) -> None:
    if step == 0:
        model[0].weight.register_hook(lambda gradient: 2 * gradient)
        model[0].bias.register_hook(lambda _: None)
        model.handle = model[2].bias.register_hook(torch.zeros_like)
    if step == 2:
        model.handle.remove()


@promise("Autograd", "tensor hooks: that change the gradient, return None, come and go")
@DETAILS
def test_tensor_hooks_act_as_alone(record: Record, detail: Detail) -> None:
    holds(record, Program(network, tensor_hooks, hook_parameters), detail)


def hook_nodes(model: Any) -> Tensor:
    loss = model(batch()).square().mean()
    node: Any = loss.grad_fn
    node.register_prehook(lambda gradients: (2 * gradients[0],))
    node.register_hook(lambda inputs, _: tuple(3 * gradient for gradient in inputs))
    removed = node.next_functions[0][0].register_prehook(lambda _: pytest.fail("it was removed"))
    removed.remove()
    return loss


@promise("Autograd", "node hooks and multi-grad hooks")
@DETAILS
def test_node_hooks_act_as_alone(record: Record, detail: Detail) -> None:
    def register(model: Any, step: int) -> None:
        if step == 0:
            graph = torch.autograd.graph
            seen = model.seen = []
            for mode in ("all", "any"):
                graph.register_multi_grad_hook(tuple(model.parameters()), lambda _: seen.append(1), mode=mode)

    holds(record, Program(network, hook_nodes, register), detail)


def hook_modules(model: Any, step: int) -> None:
    if step == 0:
        model[0].register_full_backward_hook(lambda *_: None)
        model[1].register_full_backward_pre_hook(lambda _, gradients: (2 * gradients[0],))
        model[0].register_forward_pre_hook(lambda _, given, named: ((2 * given[0],), named), with_kwargs=True)
        model[1].register_forward_hook(lambda _, given, named, result: result + 1, with_kwargs=True)
        model.handle = model[2].register_full_backward_hook(lambda _, inputs, __: tuple(3 * each for each in inputs))
    if step == 2:
        model.handle.remove()


@promise("Autograd", "module hooks: forward, backward, before and after, with keywords")
@DETAILS
def test_module_hooks_act_as_alone(record: Record, detail: Detail) -> None:
    program = Program(network, loss_of, hook_modules)
    holds(record, program, detail)


@DETAILS
def test_global_module_hooks_and_always_called_ones_act_as_alone(record: Record, detail: Detail) -> None:
    def program() -> object:
        model, seen = network(), list[str]()
        handles = [
            global_hooks.register_module_forward_hook(
                lambda module, _, __: seen.append(type(module).__name__), always_call=True
            ),
            global_hooks.register_module_full_backward_hook(lambda module, _, __: seen.append("backward")),
        ]
        loss_of(model).backward()
        for handle in handles:
            handle.remove()
        failing = model[1].register_forward_hook(lambda *_: 1 / 0)
        model[1].register_forward_hook(lambda *_: seen.append("always"), always_call=True)
        with pytest.raises(ZeroDivisionError):
            loss_of(model)
        failing.remove()
        loss_of(model).backward()
        return seen, dict(model.named_parameters())

    session = check_exact(record, program, detail)
    assert len(calls_of(session)) == 2


@promise("Autograd", "post-accumulate hooks that use and free the gradient")
@WATCHED
@DETAILS
def test_gradients_freed_in_hooks_are_seen(record: Record, detail: Detail, *, watched: bool) -> None:
    seen: list[dict[str, float]] = []

    def train(model: nn.Module) -> object:
        names = {parameter: name for name, parameter in model.named_parameters()}

        def use_and_free(parameter: Any) -> None:
            seen[-1][names[parameter]] = float(parameter.grad.double().norm())
            parameter.data.sub_(0.1 * parameter.grad)
            parameter.grad = None

        for parameter in names:
            parameter.register_post_accumulate_grad_hook(use_and_free)
        for _ in range(3):
            seen.append({})
            loss_of(model).backward()
        return dict(model.named_parameters())

    models = [network() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    waiting = iter(models)
    session = check_exact(record, lambda: train(next(waiting)), detail, model=models[1] if watched else None)
    for name in seen[-1]:
        expected = [each[name] for each in seen[3:]]
        assert session.gradient(name).norm.tolist() == pytest.approx(expected, rel=1e-5)


class Raises(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Tensor:
        raise ValueError("in backward")


class Interrupted(Raises):
    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Tensor:
        raise KeyboardInterrupt


def _in_a_hook(model: Any) -> None:
    handle = model[0].weight.register_hook(lambda _: 1 / 0)
    try:
        loss_of(model).backward()
    finally:
        handle.remove()


def _in_a_post_accumulate_hook(model: Any) -> None:
    handle = model[0].bias.register_post_accumulate_grad_hook(lambda _: 1 / 0)
    try:
        loss_of(model).backward()
    finally:
        handle.remove()


FAILURES: dict[str, Callable[[Any], object]] = {
    "in forward": lambda model: model(torch.ones(2, WIDTH + 1)),
    "in a custom backward": lambda model: Raises.apply(model(batch())).sum().backward(),
    "Ctrl-C in backward": lambda model: Interrupted.apply(model(batch())).sum().backward(),
    "in a tensor hook": _in_a_hook,
    "in a post-accumulate hook": _in_a_post_accumulate_hook,
}


@promise("Autograd", "exceptions and Ctrl-C in forward, in backward and in hooks, after which training goes on")
@pytest.mark.parametrize("failure", FAILURES)
@DETAILS
def test_training_goes_on_after_an_exception(record: Record, failure: str, detail: Detail) -> None:
    def fail(model: Any, step: int) -> None:
        if step == 1:
            with pytest.raises((RuntimeError, ValueError, ZeroDivisionError, KeyboardInterrupt)):
                FAILURES[failure](model)

    program = Program(network, loss_of, fail, held=False)
    models = [network() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    waiting = iter(models)
    session = check_exact(record, lambda: program.train(next(waiting)), detail, model=models[1])
    whole = [call for call in calls_of(session) if call.error is None]
    for call, note in zip(whole, program.notes, strict=True):
        rows = session.gradients_at(call.step, micro_batches=True).of_backward(call.index)
        assert dict(zip(rows.names, rows.norm.tolist(), strict=True)) == pytest.approx(note, rel=1e-5)
    if detail != "parameters":
        held = {call.held_bytes for call in whole}
        assert len(held) == 1


# Custom functions


class Power(Function):
    """Old style, with arguments that are no tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: int, name: str = "") -> Tensor:
        ctx.save_for_backward(x)
        ctx.exponent = exponent
        return x**exponent

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.exponent * x ** (ctx.exponent - 1), None, None


class SumAndProduct(Function):
    """New style: inputs and an output saved in setup_context, and gradients that may be None."""

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * y, x + y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, output[0])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, y, _ = ctx.saved_tensors
        product, total = gradients
        assert total is None
        return product * y, product * x


class Exponential(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] # its decorator hides the names
        return gradients[0] * ctx.saved_tensors[0]


class DoubleInPlace(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


class Sort(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        values, order = x.sort()
        ctx.mark_non_differentiable(order)
        ctx.save_for_backward(order)
        return values, order

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.zeros_like(gradients[0]).scatter(1, ctx.saved_tensors[0], gradients[0])


class Flat(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.view(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].view(ctx.shape)


class Stash(Function):
    """Keeps intermediates as it should not, in containers on its context."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.kept = {"cosine": [x.cos(), (x.exp(),)]}
        return x.sin()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.kept["cosine"][0]


class Nothing(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None


class Reentrant(Function):
    """Runs a backward of its own inside its backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.leaf = x.detach().requires_grad_()
            ctx.inner = ctx.leaf.square().sum()
        return ctx.inner.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        ctx.inner.backward()
        return ctx.leaf.grad * gradients[0]


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "old style": lambda hidden: Power.apply(hidden, 3, "cube").sum(),
    "setup_context": lambda hidden: SumAndProduct.apply(hidden, hidden.cos())[0].sum(),
    "once_differentiable": lambda hidden: Exponential.apply(hidden).sum(),
    "mark_dirty": lambda hidden: DoubleInPlace.apply(hidden.clone()).square().sum(),
    "mark_non_differentiable": lambda hidden: Sort.apply(hidden)[0].square().sum(),
    "a view": lambda hidden: Flat.apply(hidden).square().sum(),
    "tensors on the context": lambda hidden: Stash.apply(hidden).sum(),
    "no gradient": lambda hidden: Nothing.apply(hidden).sum() + hidden.exp().sum(),
}


@promise("Autograd", "custom Functions: old style, setup_context, in place, views, not differentiable, tensors on ctx")
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_custom_functions_are_recorded(record: Record, function: str, detail: Detail) -> None:
    holds(record, Program(network, lambda model: FUNCTIONS[function](model(batch())), steps=2), detail)


@promise("Autograd", "double backward through custom Functions")
@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - {"once_differentiable"}))
@pytest.mark.parametrize("detail", ["nodes"])
def test_custom_functions_are_differentiated_twice(record: Record, function: str, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        x = batch().requires_grad_()
        (gradient,) = torch.autograd.grad(FUNCTIONS[function](model(x)), x, create_graph=True)
        return gradient.square().sum()

    holds(record, Program(network, forward, steps=2, held=False), detail)


@promise("Autograd", "backward inside backward (reentrant)")
@DETAILS
def test_a_backward_inside_a_backward_is_a_call_inside_the_call(record: Record, detail: Detail) -> None:
    program = Program(network, lambda model: Reentrant.apply(model(batch())), steps=2, held=False)
    session = holds(record, program, detail)
    inner = [call for call in calls_of(session) if call.parent >= 0]
    assert len(inner) == 2
    if detail != "parameters":
        size = 4
        assert without_numbers(session.held(1, inner[1].index)) == ROWS * 3 * size


# Calls


def call_in_many_ways(model: Any) -> object:
    x, unused = batch().requires_grad_(), torch.ones(2, requires_grad=True)
    result = model(x).square()
    both = torch.stack([torch.ones_like(result), result.detach()])
    found: list[Any] = [
        torch.autograd.grad(result.sum(), [x, unused], allow_unused=True, retain_graph=True),
        torch.autograd.grad(result.sum(), [x, unused], materialize_grads=True, retain_graph=True),
        torch.autograd.grad(result, x, torch.ones_like(result), retain_graph=True),
        torch.autograd.grad(result, x, both, is_grads_batched=True, retain_graph=True),
    ]
    result.backward(torch.rand_like(result), retain_graph=True)
    result.sum().backward(inputs=[model[0].weight, x])
    torch.autograd.backward([model(x).sum(), model(2 * x)], [None, torch.ones(ROWS, 3)])
    return found, x


@promise("Autograd", "backward and grad: inputs=, retain_graph, given or batched gradients, unused inputs")
@WATCHED
@DETAILS
def test_every_way_to_call_the_engine_is_recorded(record: Record, detail: Detail, *, watched: bool) -> None:
    models = [network() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    waiting = iter(models)

    def program() -> object:
        model = next(waiting)
        return call_in_many_ways(model), dict(model.named_parameters())

    session = check_exact(record, program, detail, model=models[1] if watched else None)
    calls = calls_of(session)
    assert [call.call for call in calls] == ["grad"] * 4 + ["backward"] * 3
    last = calls[-1]
    rows = session.gradients_at(last.step, micro_batches=True).of_backward(last.index)
    found = {name: norm for name, norm in zip(rows.names, rows.norm.tolist(), strict=True) if name[0] in "02"}
    assert found == pytest.approx(norms(models[1]), rel=1e-5)
    if detail != "parameters":
        assert len({call.held_bytes for call in calls[:6]}) == 1


@promise("Autograd", "gradients of gradients (create_graph)")
@DETAILS
def test_gradients_of_gradients_are_recorded(record: Record, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        gradients = torch.autograd.grad(model(batch()).tanh().sum(), list(model.parameters()), create_graph=True)
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum()

    holds(record, Program(network, forward, held=False), detail)


def written_views(model: Any) -> Tensor:
    hidden = model[0](batch())
    hidden[:, :2].mul_(2.0)
    hidden[0].zero_()
    hidden.view(-1)[3:5].sigmoid_()
    result = model[2](hidden.tanh())
    result.mul_(3.0).add_(1)
    return result.t().square().sum()


@promise(
    "Autograd",
    "views, and writes into them",
    held="partly",
    note="what the op inside a write into a view saved is counted at nodes, labelled at modules",
)
@DETAILS
def test_views_and_writes_into_them_are_recorded(record: Record, detail: Detail) -> None:
    program = Program(network, written_views, held=detail == "nodes")
    session = holds(record, program, detail)
    if detail == "modules":
        labels = {node.label.label for node in session.graph(2).nodes if node.label is not None}
        assert labels == {"hidden"}


def detached(model: Any) -> Tensor:
    hidden = model[0](batch())
    cut = hidden * 1
    cut.detach_()
    cut.requires_grad_()
    return (model[2](hidden.tanh()) + model[2](hidden.detach()) + model[2](cut)).sum()


@promise("Autograd", "detach, detach_, no_grad, enable_grad and inference_mode in each other")
@DETAILS
def test_detached_tensors_and_grad_modes_are_followed(record: Record, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        with torch.no_grad():
            model(batch())
            with torch.enable_grad():
                loss = detached(model)
        with torch.inference_mode():
            model(batch())
            with torch.inference_mode(mode=False):
                return loss + model(batch()).square().sum()

    holds(record, Program(network, forward), detail)


@promise("Autograd", "anomaly detection, the profiler, autocast")
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@DETAILS
def test_anomaly_detection_profiler_and_autocast_act_as_alone(record: Record, detail: Detail) -> None:
    def forward(model: Any) -> Tensor:
        with torch.autograd.set_detect_anomaly(True):  # torch's own signature
            first = loss_of(model)
        with torch.autograd.profiler.profile():
            second = loss_of(model)
        with torch.autocast("cpu", torch.bfloat16):
            return first + second + loss_of(model).float()

    holds(record, Program(network, forward), detail)


class CountsCalls(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


class NotesOps(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ops.append(str(func))
        return func(*args, **(kwargs or {}))


@promise("Autograd", "the program's own function and dispatch modes")
@DETAILS
def test_modes_of_the_program_see_what_they_see_alone(record: Record, detail: Detail) -> None:
    def program() -> object:
        model = network()
        with CountsCalls() as counting:
            loss_of(model).backward()
        with NotesOps() as noting:
            loss_of(model).backward()
        # At nodes autograd detaches saved results when it unpacks them, not when it saves them.
        return counting.calls, [op for op in noting.ops if "detach" not in op], dict(model.named_parameters())

    session = check_exact(record, program, detail)
    if detail != "parameters":
        first, second = calls_of(session)
        assert first.held_bytes == second.held_bytes == ROWS * (WIDTH + 5 + 3) * 4


@DETAILS
def test_a_hook_may_run_a_backward_and_add_hooks(record: Record, detail: Detail) -> None:
    def program() -> object:
        model: Any = network()
        other = torch.ones(3, requires_grad=True)
        seen: list[Tensor] = []

        def run(_: Tensor) -> None:
            with torch.enable_grad():
                (other * other).sum().backward()
            if not seen:
                model[0].weight.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.clone()))

        model[2].weight.register_hook(run)
        for _ in range(2):
            loss_of(model).backward()
        return seen, other, dict(model.named_parameters())

    session = check_exact(record, program, detail)
    assert [call.parent >= 0 for call in calls_of(session)] == [False, True, False, True]


@DETAILS
def test_gradients_set_by_the_program_are_not_taken_for_backwards(record: Record, detail: Detail) -> None:
    weight = torch.ones(3, requires_grad=True)

    def program() -> None:
        with torch.inference_mode():
            weight.grad = torch.full((3,), 7.0)
        with pytest.raises(RuntimeError, match="inference"):
            weight.sum().backward()
        weight.grad = None
        weight.sum().backward()
        weight.requires_grad_(False)  # noqa: FBT003 # torch's own signature
        factor = torch.ones(3, requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # asking a tensor that is no leaf any more for its gradient warns
            weight.mul_(factor)
            (weight * 2).sum().backward()

    session = record(program, detail=detail)
    assert [notice.text for notice in session.notices] == []
    assert session.gradient("weight").norm.tolist() == pytest.approx([3**0.5])
    assert session.gradient("factor").norm.tolist() == pytest.approx([12**0.5])


@DETAILS
def test_two_threads_may_run_two_graphs_of_one_model(record: Record, detail: Detail) -> None:
    def program() -> object:
        model = network()
        losses = [loss_of(model) for _ in range(4)]
        for loss in reversed(losses):
            on_a_thread(loss.backward)
        return dict(model.named_parameters())

    session = check_exact(record, program, detail)
    assert len(calls_of(session)) == 4
    assert all(len(session.gradient(name, micro_batches=True)) == 4 for name in session.parameters.names)

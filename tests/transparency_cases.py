"""Programs that a recorder might disturb. Each returns what can be compared, or raises what must stay the same."""

from __future__ import annotations

import copy
import pickle
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd import functional as autograd_functional
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    get_gradient_edge,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

CASES: dict[str, Callable[[], object]] = {}
IN_PLACE: dict[str, Callable[[], object]] = {}
"""Each changes a saved tensor before backward, which autograd notices."""


def case(function: Callable[[], object]) -> Callable[[], object]:
    CASES[function.__name__] = function
    return function


def in_place(function: Callable[[], object]) -> Callable[[], object]:
    IN_PLACE[function.__name__] = function
    return function


def leaf(*shape: int) -> Tensor:
    return torch.rand(*shape, requires_grad=True)


# Changes of saved tensors


@in_place
def saved_result_of_exp() -> object:
    y = leaf(2, 3).exp()
    y.mul_(2)
    return y.sum().backward()


@in_place
def saved_input_of_mul() -> object:
    x, y = leaf(3), leaf(3) + 0
    z = x * y
    y.add_(1)
    return z.sum().backward()


@in_place
def weight_of_matmul() -> object:
    x, weight = leaf(2, 3), nn.Parameter(torch.rand(3, 4))
    y = x @ weight
    with torch.no_grad():
        weight.mul_(2)
    return y.sum().backward()


@in_place
def weight_of_linear_by_an_optimizer() -> object:
    layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    loss = layers(torch.ones(2, 3)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    return loss.backward()


@in_place
def factors_of_svd() -> object:
    _, s, v = torch.linalg.svd(leaf(3, 3), full_matrices=False)
    v.zero_()
    return s.sum().backward() if s.grad_fn is None else (s.sum() + v.sum()).backward()


@in_place
def result_of_softmax() -> object:
    y = leaf(2, 3).softmax(-1)
    y[0] = 0
    return y.sum().backward()


@in_place
def indices_of_max() -> object:
    values, indices = leaf(2, 3).max(1)
    indices.zero_()
    return values.sum().backward()


@in_place
def index_of_gather() -> object:
    index = torch.zeros(2, 1, dtype=torch.long)
    y = leaf(2, 3).gather(1, index)
    index.add_(1)
    return y.sum().backward()


@in_place
def view_of_a_saved_tensor() -> object:
    x = leaf(2, 3) + 0
    y = x.sin()
    x.view(-1)[0] = 1
    return y.sum().backward()


@in_place
def detached_alias_of_a_saved_tensor() -> object:
    x = leaf(2, 3) + 0
    y = x.square()
    x.detach().zero_()
    return y.sum().backward()


@in_place
def input_of_a_convolution() -> object:
    x = torch.rand(1, 1, 4, 4)
    y = nn.Conv2d(1, 2, 3)(x)
    x.zero_()
    return y.sum().backward()


@in_place
def result_of_sigmoid_in_place() -> object:
    y = (leaf(3) + 0).sigmoid_()
    y.relu_()
    y.add_(1)
    return y.sum().backward()


@in_place
def tensor_saved_by_a_custom_function() -> object:
    x = leaf(3) + 0
    y = Square.apply(x)
    x.add_(1)
    return y.sum().backward()


@in_place
def output_saved_by_a_custom_function() -> object:
    y = Exponential.apply(leaf(3))
    y.add_(1)
    return y.sum().backward()


@in_place
def list_of_saved_tensors() -> object:
    parts = [leaf(2) + 0, leaf(2) + 0]
    product = torch.linalg.multi_dot([parts[0], torch.rand(2, 2), parts[1]])
    parts[1].zero_()
    return product.sum().backward()


@in_place
def hidden_state_of_a_cell() -> object:
    cell = nn.GRUCell(2, 2)
    hidden = cell(torch.rand(1, 2), torch.zeros(1, 2))
    after = cell(torch.rand(1, 2), hidden)
    hidden.zero_()
    return after.sum().backward()


@in_place
def batch_norm_of_two_calls() -> object:
    norm = nn.BatchNorm1d(3)
    norm.eval()
    loss = norm(leaf(4, 3)).sum()
    norm.running_mean.add_(1)  # type: ignore[union-attr]  # batch norm has it
    return loss.backward()


@in_place
def the_second_call_under_retain_graph() -> object:
    x = leaf(3) + 0
    y = x.exp().sin()
    y.sum().backward(retain_graph=True)
    x.add_(1)
    z = x.square()
    x.add_(1)
    y.sum().backward()
    return z.sum().backward()


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradients[0]


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        ctx.mark_non_differentiable()
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return y * gradients[0]


# Other ways to differentiate


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def _loss(x: Tensor) -> Tensor:
    return (x.sin() * x.exp()).sum()


@case
def func_grad() -> object:
    return grad(_loss)(torch.rand(3))


@case
def func_vmap_of_grad() -> object:
    return vmap(grad(_loss))(torch.rand(4, 3))


@case
def func_per_sample_gradients_of_a_network() -> object:
    network = _network()
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(network, values, (x,)).square().sum()

    return vmap(grad(loss), in_dims=(None, 0))(parameters, torch.rand(5, 3))


@case
def func_jacobians_and_hessian() -> object:
    x = torch.rand(3)
    return jacrev(torch.sin)(x), jacfwd(torch.exp)(x), hessian(_loss)(x)


@case
def func_vjp_and_jvp() -> object:
    x = torch.rand(3)
    pulled: Any = vjp(torch.sin, x)
    return pulled[0], pulled[1](torch.ones(3)), jvp(torch.sin, (x,), (torch.ones(3),))


@case
def func_grad_within_a_graph_that_is_trained() -> object:
    x = leaf(3)
    (grad(_loss)(x) * x.exp()).sum().backward()
    return x.grad


@case
def forward_mode() -> object:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.rand(3), torch.ones(3))
        return forward_ad.unpack_dual(_network()(dual.exp())).tangent


@case
def functional_jacobian_one_by_one_and_vectorized() -> object:
    x = torch.rand(3)
    return [autograd_functional.jacobian(torch.sin, x, vectorize=vectorize) for vectorize in (False, True)]


@case
def functional_hessian() -> object:
    return [autograd_functional.hessian(_loss, torch.rand(3), vectorize=vectorize) for vectorize in (False, True)]


@case
def batched_gradients() -> object:
    x = leaf(3)
    return torch.autograd.grad(x.sin() * x, x, torch.eye(3), is_grads_batched=True)


@case
def double_backward() -> object:
    network, x = _network(), leaf(2, 3)
    (first,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
    first.norm().backward()
    return [parameter.grad for parameter in network.parameters()], x.grad


@case
def numerical_checks() -> object:
    x = torch.rand(2, 2, dtype=torch.double, requires_grad=True)
    checked: Any = torch.autograd
    return checked.gradcheck(Square.apply, (x,)), checked.gradgradcheck(torch.tanh, (x,))


@case
def gradients_of_chosen_inputs() -> object:
    x, y = leaf(3), leaf(3)
    (x * y).exp().sum().backward(inputs=[x])
    unused = torch.autograd.grad(x.sum(), [x, y], allow_unused=True)
    return x.grad, y.grad, unused


@case
def gradients_at_an_edge() -> object:
    x = leaf(3)
    hidden = x.exp()
    edge = get_gradient_edge(hidden)
    result = hidden.sin().sum()
    return torch.autograd.grad(result, edge), torch.autograd.grad(get_gradient_edge(hidden.cos()), x, torch.ones(3))


@case
def a_graph_run_twice_is_refused() -> object:
    loss = leaf(3).exp().sum()
    loss.backward()
    return loss.backward()


@case
def a_result_without_a_graph_is_refused() -> object:
    return torch.rand(3).sum().backward()


@case
def a_vector_without_gradient_is_refused() -> object:
    return leaf(3).exp().backward()


@case
def a_missing_gradient_is_refused() -> object:
    return torch.autograd.grad(leaf(3).sum(), leaf(3))


# Saved-tensor hooks of the program


@case
def saved_tensor_hooks_of_the_program() -> object:
    seen: list[str] = []

    def pack(tensor: Tensor) -> tuple[str, Tensor]:
        seen.append(f"pack {tuple(tensor.shape)}")
        return "packed", tensor * 2

    def unpack(packed: tuple[str, Tensor]) -> Tensor:
        seen.append(packed[0])
        return packed[1] / 2

    x = leaf(3)
    before = x.exp()
    with saved_tensors_hooks(pack, unpack):
        within = before.sin() * x
    within.tanh().sum().backward()
    return x.grad, seen


@case
def nested_saved_tensor_hooks() -> object:
    seen: list[str] = []

    def pair(name: str) -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda t: (seen.append(f"pack {name}"), t)[1], lambda t: t)

    x = leaf(3)
    with pair("outer"):
        y = x.exp()
        with pair("inner"):
            z = y.sin()
        w = z.cos()
    w.sum().backward()
    return x.grad, seen


@case
def hooks_on_one_saved_tensor() -> object:
    x = leaf(3)
    y = x.sin()
    saved: Any = y.grad_fn
    saved._raw_saved_self.register_hooks(lambda t: t * 2, lambda t: t)
    y.sum().backward()
    return x.grad


@case
def saved_tensors_on_the_cpu() -> object:
    network, x = _network(), leaf(2, 3)
    with save_on_cpu():
        loss = network(x).exp().sum()
    loss.backward()
    return x.grad


@case
def mutation_that_is_allowed() -> object:
    x = leaf(3)
    with allow_mutation_on_saved_tensors():
        y = x.clone()
        z = y.sin()
        y.mul_(2)
        z.sum().backward()
    return x.grad


@case
def hooks_that_the_program_forbids() -> object:
    x = leaf(3)
    with disable_saved_tensors_hooks("not here"):
        x.exp().sum().backward()
        with saved_tensors_hooks(lambda t: t, lambda t: t):
            x.exp()
    return x.grad


@case
def hooks_that_are_forbidden_for_a_while() -> object:
    x, seen = leaf(3), list[int]()
    with disable_saved_tensors_hooks("not here"), disable_saved_tensors_hooks("nor here"):
        within = x.exp()
    with saved_tensors_hooks(lambda t: (seen.append(1), t)[1], lambda t: t):
        (within * x.sin()).sum().backward()
    return x.grad, seen


@case
def a_pack_hook_that_raises() -> object:
    def pack(tensor: Tensor) -> Tensor:
        raise ValueError("cannot pack")

    with saved_tensors_hooks(pack, lambda t: t):
        return leaf(3).exp()


@case
def an_unpack_hook_that_raises() -> object:
    def unpack(packed: Tensor) -> Tensor:
        raise ValueError("cannot unpack")

    with saved_tensors_hooks(lambda t: t, unpack):
        y = leaf(3).exp()
    return y.sum().backward()


# Checkpoints


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).exp()


def _checkpointed(*, use_reentrant: bool) -> object:
    blocks, x = [_Block(), _Block()], leaf(4, 3)
    y: Any = x
    for block in blocks:
        y = checkpoint(block, y, use_reentrant=use_reentrant)
    y.sin().sum().backward()
    return x.grad, [parameter.grad for block in blocks for parameter in block.parameters()], torch.get_rng_state()


@case
def checkpoint_without_reentry() -> object:
    return _checkpointed(use_reentrant=False)


@case
def checkpoint_with_reentry() -> object:
    return _checkpointed(use_reentrant=True)


@case
def checkpoint_within_a_checkpoint() -> object:
    inner, x = _Block(), leaf(4, 3)

    def outer(value: Tensor) -> Any:
        return checkpoint(inner, value.sin(), use_reentrant=False)

    loss: Any = checkpoint(outer, x, use_reentrant=False)
    loss.sum().backward()
    return x.grad


@case
def checkpoint_that_does_not_repeat_itself() -> object:
    calls: list[int] = []

    def unsteady(value: Tensor) -> Tensor:
        calls.append(1)
        return value.sin() if len(calls) == 1 else value.sin().exp().cos()

    loss: Any = checkpoint(unsteady, leaf(3), use_reentrant=False)
    return loss.sum().backward()


@case
def checkpoint_under_hooks_of_the_program() -> object:
    x = leaf(4, 3)
    with saved_tensors_hooks(lambda t: t * 1, lambda t: t):
        loss: Any = checkpoint(_Block(), x, use_reentrant=False)
    loss.sum().backward()
    return x.grad


# Modes, hooks and traces of the program


class _Log(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ops.append(str(func))
        return func(*args, **(kwargs or {}))


class _FunctionLog(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def _train_twice() -> list[Tensor | None]:
    network = _network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, foreach=False)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.rand(2, 3)), torch.tensor([0, 1])).backward()
        optimizer.step()
    return [parameter.grad for parameter in network.parameters()]


@case
def a_dispatch_mode_sees_the_same_ops() -> object:
    with _Log() as log:
        gradients = _train_twice()
    return gradients, log.ops


@case
def a_function_mode_sees_the_same_calls() -> object:
    with _FunctionLog() as log:
        gradients = _train_twice()
    return gradients, log.calls


class _Labelled(Tensor):
    pass


@case
def a_subclass_stays_one() -> object:
    x = torch.rand(3).as_subclass(_Labelled).requires_grad_()
    y = x.exp() * x
    y.sum().backward()
    return type(y).__name__, type(x.grad).__name__, x.grad


@case
def anomaly_mode_names_the_same_function() -> object:
    with torch.autograd.detect_anomaly(check_nan=True):
        x = torch.zeros(2, requires_grad=True)
        return (x / 0 * x).sqrt().sum().backward()


@case
def hooks_run_in_the_programs_order() -> object:
    network, seen = _network(), list[str]()
    for name, module in network.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: seen.append(f"enter {name}"))
        module.register_forward_hook(lambda *_, name=name: seen.append(f"leave {name}"))
        module.register_full_backward_hook(lambda *_, name=name: seen.append(f"backward {name}"))
    for name, parameter in network.named_parameters():
        parameter.register_hook(lambda gradient, name=name: seen.append(f"gradient {name} {gradient.sum():.4f}"))
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: seen.append(f"done {name} {p.grad.sum():.4f}")
        )
    output = network(torch.rand(2, 3))
    output.retain_grad()
    output.grad_fn.register_hook(lambda *_: seen.append("node"))
    output.grad_fn.register_prehook(lambda *_: seen.append("before node"))
    output.sum().backward()
    return seen, output.grad


@case
def a_hook_may_change_the_gradient() -> object:
    network = _network()
    hidden = network[0](torch.rand(2, 3))
    hidden.register_hook(lambda gradient: gradient * 3)
    hidden.grad_fn.register_prehook(lambda gradients: (gradients[0] * 5,))
    network[2](network[1](hidden)).sum().backward()
    return [parameter.grad for parameter in network.parameters()]


@case
def copies_and_pickles_of_a_watched_model() -> object:
    network = _network()
    network(torch.rand(2, 3)).sum().backward()
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    hooks: Any = [each[0].weight._post_accumulate_grad_hooks for each in copies]
    for each in copies:
        each(torch.ones(2, 3)).sum().backward()
    return [parameter.grad for each in copies for parameter in each.parameters()], hooks


@case
def inference_and_no_grad() -> object:
    network, x = _network(), torch.rand(2, 3)
    with torch.inference_mode():
        first = network(x)
    with torch.no_grad():
        second = network(x)
    return first.is_inference(), first.clone(), second, network(x).sum().backward()


@case
def an_inference_tensor_saved_for_backward_is_refused() -> object:
    with torch.inference_mode():
        x = torch.ones(3)
    return (x * leaf(3)).sum().backward()


@case
def autocast() -> object:
    network = _network()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.rand(2, 3)).float().sum()
    (loss * 1024).backward()
    return [parameter.grad for parameter in network.parameters()]


@case
def meta_tensors() -> object:
    with torch.device("meta"):
        network = _network()
        network(torch.rand(2, 3)).sum().backward()
    return [(parameter.grad is None, parameter.shape) for parameter in network.parameters()]


@case
def fake_tensors() -> object:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        network = _network()
        network(torch.rand(2, 3)).sum().backward()
        return [parameter.grad.shape for parameter in network.parameters() if parameter.grad is not None]


@case
def symbolic_and_graph_traces() -> object:
    from torch.fx import symbolic_trace
    from torch.fx.experimental.proxy_tensor import make_fx

    network, x = _network(), torch.rand(2, 3)
    traced: Any = symbolic_trace(network)
    made: Any = make_fx(grad(_loss))(torch.rand(3))
    return traced.code, made.code, traced(x)


@case
def jit_trace_and_script() -> object:
    network, x = _network(), torch.rand(2, 3)
    traced: Any = torch.jit.trace(network, x)
    scripted: Any = torch.jit.script(network)
    loss = traced(x).sum() + scripted(x).sum()
    loss.backward()
    return re.sub(r"___torch_mangle_\d+\.", "", str(traced.graph)), [
        parameter.grad for parameter in network.parameters()
    ]


@case
def a_compiled_model_in_one_graph() -> object:
    torch._dynamo.reset()
    network = _network()
    compiled: Any = torch.compile(network, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        compiled(torch.rand(2, 3)).sum().backward()
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    return frames, [parameter.grad for parameter in network.parameters()]

"""Programs that differentiate in other ways, and that watch or trace what torch does."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd import functional as autograd_functional
from torch.autograd.graph import (
    get_gradient_edge,
)
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from transparency_cases import Cases, Square, leaf, network_of_two_layers, smooth_loss

PROGRAMS = Cases()

# Other ways to differentiate


@PROGRAMS.add
def func_grad() -> object:
    return grad(smooth_loss)(torch.rand(3))


@PROGRAMS.add
def func_vmap_of_grad() -> object:
    return vmap(grad(smooth_loss))(torch.rand(4, 3))


@PROGRAMS.add
def func_per_sample_gradients_of_anetwork_of_two_layers() -> object:
    network = network_of_two_layers()
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(network, values, (x,)).square().sum()

    return vmap(grad(loss), in_dims=(None, 0))(parameters, torch.rand(5, 3))


@PROGRAMS.add
def func_jacobians_and_hessian() -> object:
    x = torch.rand(3)
    return jacrev(torch.sin)(x), jacfwd(torch.exp)(x), hessian(smooth_loss)(x)


@PROGRAMS.add
def func_vjp_and_jvp() -> object:
    x = torch.rand(3)
    pulled: Any = vjp(torch.sin, x)
    return pulled[0], pulled[1](torch.ones(3)), jvp(torch.sin, (x,), (torch.ones(3),))


@PROGRAMS.add
def func_grad_within_a_graph_that_is_trained() -> object:
    x = leaf(3)
    (grad(smooth_loss)(x) * x.exp()).sum().backward()
    return x.grad


@PROGRAMS.add
def forward_mode() -> object:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.rand(3), torch.ones(3))
        return forward_ad.unpack_dual(network_of_two_layers()(dual.exp())).tangent


@PROGRAMS.add
def functional_jacobian_one_by_one_and_vectorized() -> object:
    x = torch.rand(3)
    return [autograd_functional.jacobian(torch.sin, x, vectorize=vectorize) for vectorize in (False, True)]


@PROGRAMS.add
def functional_hessian() -> object:
    return [autograd_functional.hessian(smooth_loss, torch.rand(3), vectorize=vectorize) for vectorize in (False, True)]


@PROGRAMS.add
def batched_gradients() -> object:
    x = leaf(3)
    return torch.autograd.grad(x.sin() * x, x, torch.eye(3), is_grads_batched=True)


@PROGRAMS.add
def double_backward() -> object:
    network, x = network_of_two_layers(), leaf(2, 3)
    (first,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
    first.norm().backward()
    return [parameter.grad for parameter in network.parameters()], x.grad


@PROGRAMS.add
def numerical_checks() -> object:
    x = torch.rand(2, 2, dtype=torch.double, requires_grad=True)
    checked: Any = torch.autograd
    return checked.gradcheck(Square.apply, (x,)), checked.gradgradcheck(torch.tanh, (x,))


@PROGRAMS.add
def gradients_of_chosen_inputs() -> object:
    x, y = leaf(3), leaf(3)
    (x * y).exp().sum().backward(inputs=[x])
    unused = torch.autograd.grad(x.sum(), [x, y], allow_unused=True)
    return x.grad, y.grad, unused


@PROGRAMS.add
def gradients_at_an_edge() -> object:
    x = leaf(3)
    hidden = x.exp()
    edge = get_gradient_edge(hidden)
    result = hidden.sin().sum()
    return torch.autograd.grad(result, edge), torch.autograd.grad(get_gradient_edge(hidden.cos()), x, torch.ones(3))


@PROGRAMS.add
def a_graph_run_twice_is_refused() -> object:
    loss = leaf(3).exp().sum()
    loss.backward()
    return loss.backward()


@PROGRAMS.add
def a_result_without_a_graph_is_refused() -> object:
    return torch.rand(3).sum().backward()


@PROGRAMS.add
def a_vector_without_gradient_is_refused() -> object:
    return leaf(3).exp().backward()


@PROGRAMS.add
def a_missing_gradient_is_refused() -> object:
    return torch.autograd.grad(leaf(3).sum(), leaf(3))


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
    network = network_of_two_layers()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, foreach=False)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.rand(2, 3)), torch.tensor([0, 1])).backward()
        optimizer.step()
    return [parameter.grad for parameter in network.parameters()]


@PROGRAMS.add
def a_dispatch_mode_sees_the_same_ops() -> object:
    with _Log() as log:
        gradients = _train_twice()
    return gradients, log.ops


@PROGRAMS.add
def a_function_mode_sees_the_same_calls() -> object:
    with _FunctionLog() as log:
        gradients = _train_twice()
    return gradients, log.calls


class _Labelled(Tensor):
    pass


@PROGRAMS.add
def a_subclass_stays_one() -> object:
    x = torch.rand(3).as_subclass(_Labelled).requires_grad_()
    y = x.exp() * x
    y.sum().backward()
    return type(y).__name__, type(x.grad).__name__, x.grad


@PROGRAMS.add
def anomaly_mode_names_the_same_function() -> object:
    with torch.autograd.detect_anomaly(check_nan=True):
        x = torch.zeros(2, requires_grad=True)
        return (x / 0 * x).sqrt().sum().backward()


@PROGRAMS.add
def hooks_run_in_the_programs_order() -> object:
    network, seen = network_of_two_layers(), list[str]()
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


@PROGRAMS.add
def a_hook_may_change_the_gradient() -> object:
    network = network_of_two_layers()
    hidden = network[0](torch.rand(2, 3))
    hidden.register_hook(lambda gradient: gradient * 3)
    hidden.grad_fn.register_prehook(lambda gradients: (gradients[0] * 5,))
    network[2](network[1](hidden)).sum().backward()
    return [parameter.grad for parameter in network.parameters()]


@PROGRAMS.add
def copies_and_pickles_of_a_watched_model() -> object:
    network = network_of_two_layers()
    network(torch.rand(2, 3)).sum().backward()
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    hooks: Any = [each[0].weight._post_accumulate_grad_hooks for each in copies]
    for each in copies:
        each(torch.ones(2, 3)).sum().backward()
    return [parameter.grad for each in copies for parameter in each.parameters()], hooks


@PROGRAMS.add
def inference_and_no_grad() -> object:
    network, x = network_of_two_layers(), torch.rand(2, 3)
    with torch.inference_mode():
        first = network(x)
    with torch.no_grad():
        second = network(x)
    return first.is_inference(), first.clone(), second, network(x).sum().backward()


@PROGRAMS.add
def an_inference_tensor_saved_for_backward_is_refused() -> object:
    with torch.inference_mode():
        x = torch.ones(3)
    return (x * leaf(3)).sum().backward()


@PROGRAMS.add
def autocast() -> object:
    network = network_of_two_layers()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.rand(2, 3)).float().sum()
    (loss * 1024).backward()
    return [parameter.grad for parameter in network.parameters()]


@PROGRAMS.add
def meta_tensors() -> object:
    with torch.device("meta"):
        network = network_of_two_layers()
        network(torch.rand(2, 3)).sum().backward()
    return [(parameter.grad is None, parameter.shape) for parameter in network.parameters()]


@PROGRAMS.add
def fake_tensors() -> object:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        network = network_of_two_layers()
        network(torch.rand(2, 3)).sum().backward()
        return [parameter.grad.shape for parameter in network.parameters() if parameter.grad is not None]


@PROGRAMS.add
def symbolic_and_graph_traces() -> object:
    from torch.fx import symbolic_trace
    from torch.fx.experimental.proxy_tensor import make_fx

    network, x = network_of_two_layers(), torch.rand(2, 3)
    traced: Any = symbolic_trace(network)
    made: Any = make_fx(grad(smooth_loss))(torch.rand(3))
    return traced.code, made.code, traced(x)


@PROGRAMS.add
def jit_trace_and_script() -> object:
    network, x = network_of_two_layers(), torch.rand(2, 3)
    traced: Any = torch.jit.trace(network, x)
    scripted: Any = torch.jit.script(network)
    loss = traced(x).sum() + scripted(x).sum()
    loss.backward()
    return re.sub(r"___torch_mangle_\d+\.", "", str(traced.graph)), [
        parameter.grad for parameter in network.parameters()
    ]


@PROGRAMS.add
def a_compiled_model_in_one_graph() -> object:
    torch._dynamo.reset()
    network = network_of_two_layers()
    compiled: Any = torch.compile(network, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        compiled(torch.rand(2, 3)).sum().backward()
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    return frames, [parameter.grad for parameter in network.parameters()]

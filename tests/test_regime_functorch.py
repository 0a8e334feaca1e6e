"""torch.func, forward-mode AD and torch.autograd.functional: the same numbers, and what is said of what is not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd import functional as autograd_functional
from torch.autograd.graph import saved_tensors_hooks
from torch.func import (
    functional_call,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

from debugger_questions import forget_compilations, read, snapshot
from exactness import calls_of, check_exact, run
from gradwatch.capture.graph_capture import TANGENTS_NOT_SEEN
from gradwatch.capture.module_hooks import INSIDE_TRANSFORM
from gradwatch.debugger import answer
from gradwatch.errors import UsageError
from gradwatch.records import Gradients
from living_storages import alive_after, without_numbers
from regimes import promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail
    from gradwatch.session.steps import BackwardView

    Program = Callable[[], object]

READ_DETAILS: tuple[Detail, ...] = ("modules", "nodes")
FLOAT = 4

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # torch's own, of ops without a batching rule
    pytest.mark.filterwarnings("ignore:We've integrated functorch"),  # likewise
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of linearize's tracing
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),  # likewise
]


class Net(nn.Module):
    """Two layers with dropout, which draws from the RNG inside transforms too."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def smooth(x: Tensor) -> Tensor:
    return (x.sin() * x.exp()).sum()


def detached(net: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in net.named_parameters()}


def live(net: nn.Module) -> dict[str, Tensor]:
    return dict(net.named_parameters())


def squares(net: nn.Module) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    return lambda values, x: functional_call(net, values, (x,)).square().sum()


# Transforms on their own

TRANSFORMS: dict[str, Program] = {}


def transform(program: Program) -> Program:
    TRANSFORMS[program.__name__] = program
    return program


@transform
def grad_and_its_value() -> object:
    return grad(smooth)(torch.rand(5)), grad_and_value(smooth)(torch.rand(5))


@transform
def grad_of_grad() -> object:
    return grad(lambda x: grad(lambda y: smooth(y) * y.sum())(x).cos().sum())(torch.rand(5))


@transform
def vjp_called_later_and_batched() -> object:
    result: Any = vjp(torch.sin, torch.rand(3))
    return result[0], result[1](torch.ones(3)), vmap(result[1])(torch.eye(3))


@transform
def jvp_and_linearize() -> object:
    x = torch.rand(4)
    result, push = linearize(smooth, x)
    return jvp(smooth, (x,), (torch.ones(4),)), result, push(torch.ones(4))


@transform
def vmap_of_grad() -> object:
    return vmap(grad(smooth))(torch.rand(4, 5))


@transform
def jacobians_and_hessian() -> object:
    x = torch.rand(4)
    return jacrev(torch.sin)(x), jacfwd(torch.sin)(x), hessian(smooth)(x), jacrev(jacrev(smooth))(x)


@transform
def gradients_of_a_functional_call() -> object:
    net = Net()
    return grad(squares(net))(detached(net), torch.rand(3, 6))


@transform
def gradients_per_sample() -> object:
    net = Net()
    return vmap(grad(squares(net)), (None, 0), randomness="different")(detached(net), torch.rand(3, 6))


@transform
def functionalized() -> object:
    def changing(x: Tensor) -> Tensor:
        y = x.clone()
        y.add_(1)
        return y.sin().sum()

    return functionalize(grad(changing))(torch.rand(3))


@transform
def a_vector_is_refused() -> object:
    return grad(torch.sin)(torch.rand(3))


@transform
def hooks_of_the_program_are_refused() -> object:
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        return grad(smooth)(torch.rand(3))


@transform
def an_error_inside() -> object:
    def raising(x: Tensor) -> Tensor:
        raise ValueError(type(x).__name__)

    return vmap(grad(raising))(torch.rand(2, 3))


@promise(
    "torch.func",
    "grad, vjp, jvp, linearize, vmap(grad), jacrev, jacfwd, hessian",
    gradients="unsupported",
    graph="unsupported",
    held="unsupported",
    note="results are those without gradwatch; each call says that it ran inside a transform",
)
@pytest.mark.parametrize("detail", READ_DETAILS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_gives_what_it_gives_alone_and_is_named(record: Record, name: str, detail: Detail) -> None:
    session = check_exact(record, TRANSFORMS[name], detail)
    for call in calls_of(session):
        assert call.unobserved == "inside a functorch transform (torch.func): its graph is not observable"
        assert call.held_bytes == -1
        with pytest.raises(UsageError, match="not observable: inside a functorch transform"):
            _ = call.held.total_bytes
    told = [notice.text for notice in session.notices]
    assert told == ([INSIDE_TRANSFORM] if "functional_call" in name or "per_sample" in name else [])


# Transforms in what is trained


class Trained(nn.Module):
    """A parameter for a program to train; `run` is its loss."""

    def __init__(self, run: Callable[[Trained], Tensor]) -> None:
        super().__init__()
        self.net = Net()
        self.first = nn.Linear(6, 6)
        self.run = run

    def forward(self) -> Tensor:
        return self.run(self)


TRAINED: dict[str, Callable[[Trained], Tensor]] = {}


def trained(run: Callable[[Trained], Tensor]) -> Callable[[Trained], Tensor]:
    TRAINED[run.__name__] = run
    return run


@trained
def a_gradient_in_forward(model: Trained) -> Tensor:
    x = model.first(torch.rand(3, 6))
    return (vmap(grad(lambda each: model.net(each).square().sum()), randomness="different")(x) * x).sum()


@trained
def a_jacobian_in_forward(model: Trained) -> Tensor:
    return jacrev(model.net, chunk_size=None)(model.first(torch.rand(6))).square().sum()


@trained
def a_hessian_in_forward(model: Trained) -> Tensor:
    model.net.eval()
    return hessian(lambda x: model.net(x).sum())(model.first(torch.rand(6))).square().sum()


@trained
def a_tangent_in_forward(model: Trained) -> Tensor:
    result: Any = jvp(model.net, (model.first(torch.rand(2, 6)),), (torch.ones(2, 6),))
    return result[1].square().sum()


@trained
def an_inner_step_of_its_own(model: Trained) -> Tensor:
    x, values = torch.rand(3, 6), live(model.net)
    inner = grad(squares(model.net))(values, x)
    stepped = {name: value - 0.1 * inner[name] for name, value in values.items()}
    return squares(model.net)(stepped, x)


@trained
def a_model_under_vmap(model: Trained) -> Tensor:
    return vmap(model.net, randomness="different")(torch.rand(3, 6)).square().sum()


@trained
def a_penalty_on_gradients_per_sample(model: Trained) -> Tensor:
    gradients = vmap(grad(squares(model.net)), (None, 0), randomness="different")(live(model.net), torch.rand(3, 6))
    return torch.stack([each.square().sum() for each in gradients.values()]).sum()


def train(run: Callable[[Trained], Tensor], models: list[Trained]) -> Program:
    """Two backward calls on a new model: the first finds its modules."""

    def program() -> object:
        model = Trained(run)
        models[:] = [model]
        losses: list[Tensor] = []
        for _ in range(2):
            model.zero_grad()
            loss = model()
            loss.backward()
            losses.append(loss.detach())
        return losses, list(model.parameters())

    return program


def last_backward(session: Session) -> BackwardView:
    return [call for call in calls_of(session) if call.call == "backward"][-1]


def check_gradients(session: Session, model: nn.Module) -> None:
    """The gradients of the last call are those that the model has now."""
    paths = {view.id: view.path for view in session.parameters}
    call = last_backward(session)
    found: dict[str, float] = {}
    for gradients in session.reader.records_of_step(Gradients, call.step):
        if gradients.subject_kind == "parameter" and gradients.backward == call.index:
            norms = np.frombuffer(gradients.columns["l2"].data, gradients.columns["l2"].dtype).tolist()
            subjects = np.frombuffer(gradients.subjects.data, "<u4").tolist()
            found.update({paths[subject]: norm for subject, norm in zip(subjects, norms, strict=True)})
    there = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert found == pytest.approx({name: gradient.double().norm().item() for name, gradient in there.items()}, rel=1e-5)


@promise(
    "torch.func",
    "transforms inside what backward() trains",
    note="the nodes that they leave are seen; gradients of module outputs inside them are not, and a notice says so",
)
@pytest.mark.parametrize(
    ("name", "detail"),
    [("a_gradient_in_forward", "parameters"), *[(name, d) for name in TRAINED for d in READ_DETAILS]],
)
def test_what_is_trained_through_transforms_is_seen(record: Record, name: str, detail: Detail) -> None:
    models: list[Trained] = []
    session = check_exact(record, train(TRAINED[name], models), detail)
    check_gradients(session, models[0])
    if detail == "parameters":
        return
    assert without_numbers(last_backward(session).held) == alive_after(models[0])
    assert [notice.text for notice in session.notices] == [INSIDE_TRANSFORM]
    modules = {node.module for node in last_backward(session).graph.nodes}
    assert any(module.endswith("layers.0") for module in modules), "nodes made inside a transform know their module"


@promise(
    "torch.func",
    "an ensemble: stack_module_state, vmap(functional_call)",
    note="gradients are those of the stacked leaves",
)
@pytest.mark.parametrize("detail", READ_DETAILS)
def test_a_stacked_ensemble_is_trained_as_alone(record: Record, detail: Detail) -> None:
    def forward(nets: list[Net]) -> tuple[dict[str, Any], Tensor]:
        values, _ = stack_module_state(nets)  # type: ignore[arg-type]  # a list of modules it is
        call = vmap(lambda each, x: functional_call(nets[0], each, (x,)), (0, None), randomness="different")
        return values, call(values, torch.rand(2, 6)).square().sum()

    def program() -> object:
        values, loss = forward([Net() for _ in range(3)])
        loss.backward()
        return list(values.values()), loss

    session = check_exact(record, program, detail)
    nets = [Net() for _ in range(3)]
    kept: list[object] = []

    def alive() -> Tensor:
        values, loss = forward(nets)
        kept.append(values)
        return loss

    # The stacked parameters are the program's, but the one that an op saved: a leaf of no module.
    own = sum(parameter.nbytes for net in nets for parameter in net.parameters() if parameter.shape != (4, 8))
    assert without_numbers(last_backward(session).held) == alive_after(alive) - own
    leaves = [view for view in session.parameters if view.is_leaf_tensor]
    assert [view.shape[0] for view in leaves] == [3] * 4


# Custom Functions


class Cube(torch.autograd.Function):
    """With the derivative as a second result, as torch's own documentation has it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # without a ctx, as with setup_context
        return x**3, 3 * x**2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, derivative = ctx.saved_tensors
        return gradients[0] * derivative + gradients[1] * 6 * x


class GradientInside(torch.autograd.Function):
    """Calls transforms in forward and in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gradient = grad(smooth)(x)
        ctx.save_for_backward(gradient)
        return gradient * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient * vmap(grad(torch.sin))(gradient)


@promise("torch.func", "custom Functions with setup_context and generate_vmap_rule, transforms inside of them")
@pytest.mark.parametrize("detail", READ_DETAILS)
def test_custom_functions_under_and_around_transforms(record: Record, detail: Detail) -> None:
    def cube(x: Tensor) -> Tensor:
        return Cube.apply(x)[0]

    def program() -> object:
        x = torch.rand(4, requires_grad=True)
        cube(x.exp()).sum().backward()
        y = torch.rand(4, requires_grad=True)
        GradientInside.apply(y.cos()).sum().backward()
        alone = torch.rand(4)
        return x, y, vmap(grad(cube))(alone), grad(lambda v: vmap(cube)(v).sum())(alone), hessian(cube)(alone[0])

    session = check_exact(record, program, detail)
    outer = [call for call in calls_of(session) if call.unobserved is None]
    # The result of exp is the input of Cube, which saves its derivative too; cos saves its input, a leaf, and
    # GradientInside the gradient.
    assert [call.held.total_bytes for call in outer] == [2 * 4 * FLOAT, 2 * 4 * FLOAT]
    assert {call.unobserved for call in calls_of(session)} == {
        None,
        "inside a functorch transform (torch.func): its graph is not observable",
    }


# torch.autograd's own


@promise(
    "torch.func",
    "torch.autograd.functional, gradients in batches",
    note="gradients that a caller is handed have no rows",
)
@pytest.mark.parametrize("detail", READ_DETAILS)
def test_the_functional_interface_of_autograd(record: Record, detail: Detail) -> None:
    def program() -> object:
        x, results = torch.rand(3), list[object]()
        for vectorize in (False, True):
            results.append(autograd_functional.jacobian(lambda x: (x * x.sum()).sin(), x, vectorize=vectorize))
            results.append(autograd_functional.hessian(smooth, x, vectorize=vectorize))
        results += [
            autograd_functional.jacobian(torch.sin, x, vectorize=True, strategy="forward-mode"),
            autograd_functional.vjp(torch.sin, x, torch.ones(3)),
            autograd_functional.jvp(torch.sin, x, torch.ones(3)),
            autograd_functional.vhp(smooth, x, torch.ones(3)),
            autograd_functional.hvp(smooth, x, torch.ones(3)),
        ]
        return results

    check_exact(record, program, detail)


@pytest.mark.parametrize("detail", READ_DETAILS)
def test_a_trained_jacobian_in_batches_is_seen(record: Record, detail: Detail) -> None:
    models: list[Trained] = []

    def forward(model: Trained) -> Tensor:
        x = model.first(torch.rand(6))
        result = model.net.eval()(x)
        (jacobian,) = torch.autograd.grad(result, x, torch.eye(4), is_grads_batched=True, create_graph=True)
        return jacobian.square().sum()

    session = check_exact(record, train(forward, models), detail)
    check_gradients(session, models[0])
    assert without_numbers(last_backward(session).held) == alive_after(models[0])


@promise(
    "torch.func",
    "forward-mode AD (dual numbers)",
    held="partly",
    note="tangents that autograd keeps beside saved tensors are not counted, and a notice says so",
)
@pytest.mark.parametrize("detail", READ_DETAILS)
def test_forward_mode_runs_as_alone_and_its_tangents_are_named(record: Record, detail: Detail) -> None:
    models: list[Trained] = []

    def forward(model: Trained) -> Tensor:
        dual = forward_ad.make_dual(model.first(torch.rand(2, 6)), torch.ones(2, 6))
        result = model.net(dual).exp().sum()
        (gradient,) = torch.autograd.grad(result, dual, create_graph=True)
        product = forward_ad.unpack_dual(gradient).tangent
        assert product is not None
        return product.square().sum() + forward_ad.unpack_dual(result).primal

    def program() -> object:
        with forward_ad.dual_level():
            return train(forward, models)()

    session = check_exact(record, program, detail)
    check_gradients(session, models[0])
    assert [notice.text for notice in session.notices] == [TANGENTS_NOT_SEEN]
    with forward_ad.dual_level():
        # More is alive than is found: the tangents. What is found is real.
        assert 0 < without_numbers(last_backward(session).held) < alive_after(models[0])


@pytest.mark.parametrize("detail", READ_DETAILS)
def test_outside_of_a_dual_level_nothing_is_missing(record: Record, detail: Detail) -> None:
    models: list[Trained] = []

    def forward(model: Trained) -> Tensor:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(model.first(torch.rand(2, 6)), torch.ones(2, 6))
            tangent = forward_ad.unpack_dual(model.net(dual)).tangent
            assert tangent is not None
            return tangent.square().sum()

    session = check_exact(record, train(forward, models), detail)
    check_gradients(session, models[0])
    assert session.notices == []
    assert without_numbers(last_backward(session).held) == alive_after(models[0])


# At a stop


def test_a_question_inside_of_a_transform_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compilations(monkeypatch)
    answers: list[str] = []

    def program(ask: bool) -> object:  # noqa: FBT001 # once without a question, once with
        net, x = Net(), torch.rand(3, 6)

        def stopped(values: dict[str, Tensor], each: Tensor) -> Tensor:
            result = functional_call(net, values, (each,)).square().sum()
            if ask:
                answers.append(answer(snapshot()))
            return result

        return vmap(grad(stopped), (None, 0), randomness="different")(detached(net), x), torch.rand(3)

    assert run(lambda: program(ask=True)).results == run(lambda: program(ask=False)).results
    found = read(answers[0])
    assert found.record.graph is None
    assert [notice.text for notice in found.record.notices] == [
        "result is inside a functorch transform (torch.func): its graph is not observable"
    ]

"""The forward trace: lines of ops, lost graphs, dead ends and writes, seen without changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from exactness import check_exact

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Cut

_C: Any = torch._C


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def names(session: Session, numbers: list[int]) -> list[str]:
    return [session.parameters[number].name for number in numbers]


def text(session: Session, site: int) -> str:
    assert site >= 0
    return session.line_text(site) or ""


def cut_of(session: Session, kind: str) -> Cut:
    return next(cut for trace in session.traces for cut in trace.cuts if cut.kind == kind)


def step(loss: torch.Tensor, net: nn.Module) -> None:
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()


def test_each_node_has_the_line_of_its_op(record: Record) -> None:
    net = model()

    squared = lambda value: value * value  # noqa: E731 # its line is the one asked for

    def program() -> None:
        x = torch.ones(3, 4)
        out = net(x)
        square = squared(out)
        total = square.sum(dim=0)
        step(total.mean(), net)

    session = record(program, net)
    graph = session.graph(0)
    sites = ((node.name, session.site_of(0, at)) for at, node in enumerate(graph.nodes))
    lines = {name: text(session, site) for name, site in sites if name != "AccumulateGrad"}
    assert lines["MulBackward0"].startswith("squared = lambda value: value * value")
    assert lines["SumBackward1"] == "total = square.sum(dim=0)"
    assert lines["MeanBackward0"] == "step(total.mean(), net)"
    assert lines["TanhBackward0"] == "out = net(x)"


CUTS: dict[str, tuple[str, Callable[[torch.Tensor], object]]] = {
    "detach": ("detached", lambda h: h.detach()),
    "data": ("data", lambda h: h.data),
    "item": ("number", lambda h: h.sum().item()),
    "float": ("number", lambda h: float(h.sum())),
    "tolist": ("number", lambda h: h.tolist()),
    "argmax": ("not differentiable", lambda h: h.argmax(dim=1)),
    "comparison": ("not differentiable", lambda h: h > 0),
    "integer": ("not differentiable", lambda h: h.long()),
    "tensor": ("rebuilt", lambda h: torch.tensor([h.sum(), h.mean()])),
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_what_loses_the_graph_is_named_with_its_line_and_parameters(record: Record, name: str) -> None:
    net = model()
    kind, cut = CUTS[name]

    def program() -> None:
        hidden = net[0](torch.ones(3, 4))
        cut(hidden)
        step(net[2](torch.tanh(hidden)).mean(), net)

    session = record(program, net)
    found = cut_of(session, kind)
    assert "lambda h:" in text(session, found.site)
    assert names(session, found.parameters) == ["0.weight", "0.bias"]
    assert not found.reaches_loss


@pytest.mark.parametrize(("mode", "kind"), [(torch.no_grad, "no_grad"), (torch.inference_mode, "inference_mode")])
def test_a_block_without_gradients_is_a_cut_of_the_parameters_used_in_it(record: Record, mode: Any, kind: str) -> None:
    net = model()

    def program() -> None:
        with mode():
            hidden = net[0](torch.ones(3, 4))
        step(net[2](hidden.clone()).mean(), net)

    session = record(program, net)
    found = cut_of(session, kind)
    assert names(session, found.parameters) == ["0.weight", "0.bias"]
    assert found.reaches_loss
    assert text(session, found.site) == "hidden = net[0](torch.ones(3, 4))"


def test_a_cut_that_went_into_the_loss_is_told_from_one_that_did_not(record: Record) -> None:
    net = model()

    def program() -> None:
        hidden = net[0](torch.ones(3, 4))
        kept = hidden.detach()
        hidden.detach()
        step(net[2](kept * 2).mean(), net)

    found = [cut for cut in record(program, net).traces[0].cuts if cut.kind == "detached"]
    assert [(cut.reaches_loss, cut.name) for cut in found] == [(True, "hidden"), (False, "hidden")]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * 2


def test_a_custom_function_cuts_nothing_and_has_the_line_of_its_call(record: Record) -> None:
    net = model()

    def program() -> None:
        doubled: Any = Doubled.apply(net(torch.ones(3, 4)))
        step(doubled.mean(), net)

    session = record(program, net)
    assert [cut.kind for cut in session.traces[0].cuts] == []
    assert session.traces[0].dead_ends == []
    at = next(at for at, node in enumerate(session.graph(0).nodes) if node.name == "DoubledBackward")
    assert text(session, session.site_of(0, at)) == "doubled: Any = Doubled.apply(net(torch.ones(3, 4)))"


def test_a_branch_outside_the_loss_is_a_dead_end_with_its_python_name(record: Record) -> None:
    net = model()

    def program() -> None:
        hidden = net[0](torch.ones(3, 4))
        auxiliary = net[2](torch.tanh(hidden))
        step(hidden.mean(), net)
        assert auxiliary is not None

    session = record(program, net)
    (end,) = session.traces[0].dead_ends
    assert (end.name, end.node, end.used) == ("auxiliary", "AddmmBackward0", 0)
    assert names(session, end.parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert end.saved_bytes >= 3 * 8 * 4  # the result of tanh
    assert text(session, end.site) == "auxiliary = net[2](torch.tanh(hidden))"


def test_gradients_that_are_zeroed_between_backward_and_the_optimizer_are_written_in_update(record: Record) -> None:
    net = model()

    def program() -> None:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.ones(3, 4)).mean().backward()
        optimizer.zero_grad()
        optimizer.step()

    session = record(program, net)
    writes = [write for write in session.traces[0].writes if write.op == "Tensor.grad.__set__"]
    assert [(write.phase, write.count, len(write.parameters)) for write in writes] == [("update", 4, 4)]
    assert text(session, writes[0].site) == "optimizer.zero_grad()"


def test_a_parameter_without_a_gradient_later_on_has_another_step_traced(record: Record) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def program() -> None:
        for number in range(8):
            optimizer.zero_grad()
            hidden = net[0](torch.ones(3, 4))
            (net[2](hidden) if number < 3 else hidden).mean().backward()
            optimizer.step()

    traces = record(program, net).traces
    assert [trace.reason for trace in traces] == ["first step", "unreached parameters"]
    assert traces[1].step >= 3


class Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


def trained() -> list[torch.Tensor]:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.rand(3, 4)).square().mean().backward()
        optimizer.step()
    return list(net.parameters())


def inside_a_mode() -> object:
    with Counting() as mode:
        result = trained()
    return result, mode.seen


def with_a_mode_around_each_step() -> object:
    net = model()
    for _ in range(3):
        with Counting():
            net(torch.rand(3, 4)).square().mean().backward()
            torch.optim.SGD(net.parameters(), lr=0.1).step()
    return list(net.parameters())


def on_a_default_device() -> object:
    torch.set_default_device("cpu")
    try:
        return trained()
    finally:
        torch.set_default_device(None)


def with_a_device_around_each_step() -> object:
    with torch.device("cpu"):
        return trained()


def in_eval_with_attention() -> object:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    with torch.no_grad():
        fast = layer(torch.rand(2, 3, 8))
    layer.train()
    layer(torch.rand(2, 3, 8)).mean().backward()
    return fast, list(layer.parameters())


def failing_in_an_op() -> object:
    return torch.ones(2, 3) @ torch.ones(2, 3)


def without_an_optimizer() -> object:
    net = model()
    for _ in range(3):
        net(torch.rand(3, 4)).mean().backward()
    return list(net.parameters())


def function_modes() -> int:
    return _C._len_torch_function_stack()


def with_a_function_replaced() -> object:
    original = nn.functional.softmax
    try:
        nn.functional.softmax = lambda value, dim: original(value, dim) * 3  # pyright: ignore[reportAttributeAccessIssue]
        return nn.functional.softmax(torch.arange(3.0), dim=0)
    finally:
        nn.functional.softmax = original


@pytest.mark.parametrize(
    "program",
    [
        trained,
        inside_a_mode,
        with_a_mode_around_each_step,
        on_a_default_device,
        with_a_device_around_each_step,
        in_eval_with_attention,
        failing_in_an_op,
        without_an_optimizer,
        with_a_function_replaced,
    ],
)
def test_a_traced_program_gives_the_same_bits(record: Record, program: Callable[[], object]) -> None:
    check_exact(record, program, "modules")
    assert function_modes() == 0


def test_no_tensor_outlives_the_exception_that_an_op_raised(record: Record) -> None:
    import weakref  # this test's alone

    died: list[bool] = []

    def program() -> None:
        def raises() -> weakref.ref[torch.Tensor]:
            value = torch.ones(2, 3)
            return weakref.ref(value)

        reference = raises()
        died.append(reference() is None)
        try:
            torch.matmul(torch.ones(2, 3) + 1, torch.ones(2, 3))
        except RuntimeError as error:
            frame = error.__traceback__
            while frame is not None:
                if "gradwatch" in frame.tb_frame.f_code.co_filename and "capture" in frame.tb_frame.f_code.co_filename:
                    died.append(not any(isinstance(each, torch.Tensor) for each in frame.tb_frame.f_locals.values()))
                frame = frame.tb_next

    record(program, model())
    assert all(died)


def test_a_module_that_was_not_called_is_counted_with_none(record: Record) -> None:
    net = model()

    def program() -> None:
        with torch.no_grad():
            net[0](torch.ones(3, 4))
        step(net[2](torch.ones(3, 8)).mean(), net)

    session = record(program, net)
    calls = {session.modules[number].path: call for number, call in session.module_calls(0).items()}
    assert (calls["1"].calls, calls["1"].forward_ns) == (0, -1)
    assert (calls["0"].calls, calls["0"].without_grad) == (1, 1)
    assert (calls["2"].calls, calls["2"].without_grad) == (1, 0)
    assert calls["2"].training
    if not torch.cuda.is_available():
        assert calls["2"].forward_ns > 0


def test_an_optimizer_tells_its_parameters_and_those_that_were_replaced(record: Record) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def program() -> None:
        for _ in range(2):
            net(torch.ones(3, 4)).mean().backward()
            optimizer.step()
            net[2] = nn.Linear(8, 2)

    session = record(program, net)
    first, last = session.optimizer_members[0], session.optimizer_members[-1]
    assert names(session, sorted(first.parameters)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert first.foreign == ()
    assert [foreign.shape for foreign in last.foreign] == [[2, 8], [2]]
    assert all(foreign.like >= 0 for foreign in last.foreign)

"""What a recording makes of threads, odd numbers and odd moments, and the lines it finds."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import gradwatch
from gradwatch.capture.trace import OTHER_THREAD
from models import fingerprints, mlp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from conftest import Record
    from gradwatch.records import Detail
    from gradwatch.session.session import Session

# Threads


def told(session: Session) -> list[str]:
    """What the notices say, but for that lines of ops are followed on one thread of a traced step."""
    return [notice.text for notice in session.notices if notice.text != OTHER_THREAD]


def test_training_on_another_thread_is_recorded(record: Record) -> None:
    program = mlp()

    def train() -> None:
        thread = threading.Thread(target=lambda: [program.step() for _ in range(3)])
        thread.start()
        thread.join()

    session = record(train, program.model)
    assert [step.backward_count for step in session.steps] == [1, 1, 1]
    assert all(session.gradient(name).steps.tolist() == [0, 1, 2] for name in session.parameters.names)
    assert {node.module for node in session.graph(2).nodes if node.name == "AddmmBackward0"} == {"0", "3", "6", "9"}


def train_at_once(train: Callable[[nn.Module], None], models: Iterable[nn.Module]) -> None:
    """Train each model in a thread of its own."""
    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_two_threads_that_train_at_once_keep_their_gradients_and_graphs(record: Record, detail: Detail) -> None:
    models = {"left": nn.Sequential(nn.Linear(4, 4), nn.Tanh()), "right": nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())}
    barrier = threading.Barrier(2)

    def train(model: nn.Module) -> None:
        for _ in range(20):
            barrier.wait(30)
            loss = model(torch.ones(2, 4)).sum()
            barrier.wait(30)
            loss.backward()

    def program() -> None:
        train_at_once(train, models.values())

    session = record(program, models, detail=detail, held=True)
    calls = [call for step in session.steps for call in step.backwards]
    assert len(calls) == 40
    assert all(len(session.gradient(f"{side}.0.weight", micro_batches=True)) == 20 for side in models)
    ops = {call.thread: set[str]() for call in calls}
    for call in calls:
        ops[call.thread] |= {node.name for node in call.graph.nodes if node.name.startswith(("Tanh", "Sigm"))}
    assert sorted(map(sorted, ops.values())) == [["SigmoidBackward0"], ["TanhBackward0"]]
    assert told(session) == []


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_threads_with_optimizers_of_their_own_lose_nothing(record: Record, detail: Detail, often: None) -> None:
    models = {f"model{number}": nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)) for number in range(3)}

    def train(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(40):
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()

    def program() -> None:
        train_at_once(train, models.values())

    session = record(program, models, detail=detail)
    assert told(session) == []
    assert sum(step.backward_count for step in session.steps) == 3 * 40
    for name in session.parameters.names:
        assert len(session.gradient(name, micro_batches=True)) == 40


@pytest.fixture
def often() -> Iterator[None]:
    """Switch between threads as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# Numbers of every kind


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_gradients_of_every_floating_dtype_are_read(record: Record, dtype: torch.dtype) -> None:
    weight = torch.ones(3, dtype=dtype, requires_grad=True)

    def program() -> None:
        (weight * torch.tensor([1.0, 0.0, 2.0]).to(dtype)).sum().abs().backward()

    session = record(program)
    gradient = session.gradient("weight")
    np.testing.assert_allclose(gradient.norm, [5**0.5], rtol=1e-3)
    assert gradient.zeros[0] >= 1
    assert session.parameters["weight"].dtype == str(dtype).removeprefix("torch.")


def test_numbers_beyond_float32_keep_their_size(record: Record) -> None:
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    session = record(lambda: (weight * 1e-200).sum().backward())
    np.testing.assert_allclose(session.gradient("weight").max, [1e-200])


def test_a_sparse_gradient_is_read_with_its_zeros_left_out_or_named(record: Record) -> None:
    embedding = nn.Embedding(100, 2, sparse=True)
    session = record(lambda: embedding(torch.tensor([3, 5, 5])).sum().backward(), embedding)
    gradient = session.gradient("weight")
    np.testing.assert_allclose(gradient.norm, [(1 + 1 + 4 + 4) ** 0.5], rtol=1e-6)
    assert gradient.count.tolist() in ([4], [200])


def test_nan_and_infinity_are_counted_and_the_loss_keeps_them(record: Record) -> None:
    weight = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)

    def program() -> None:
        (torch.tensor([1.0, float("inf"), float("nan")]) * weight).sum().backward()
        (weight / 0.0)[0].backward()

    session = record(program)
    gradient = session.gradient("weight", micro_batches=True)
    assert (gradient.nan[0], gradient.inf[0], gradient.count[0]) == (1, 1, 3)
    assert gradient.max[0] == 1.0  # over what is finite
    assert [repr(step.loss) for step in session.steps] == ["nan", "inf"]


# Source lines


class _TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        hidden = hidden.exp()
        return self.second(hidden)


def _line_of(session: gradwatch.Session, node: Any) -> str | None:
    return None if node.site < 0 else session.line_text(node.site)


@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_node_has_the_line_that_made_it(record: Record, detail: Detail) -> None:
    model = _TwoLayers()

    def program() -> None:
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()

    session = record(program, model, detail=detail)
    lines = [(node.name, _line_of(session, node)) for node in session.graph(0).nodes if not node.parameter]
    found = dict(line for line in lines if line[0] in ("ExpBackward0", "SumBackward0"))
    layers = [line for name, line in lines if name == "AddmmBackward0"]
    assert layers == ["hidden = self.first(x)", "return self.second(hidden)"]
    every_op_has_one = sys.version_info >= (3, 12)
    call = "loss = model(torch.ones(1, 2)).sum()"
    assert found["ExpBackward0"] == ("hidden = hidden.exp()" if every_op_has_one or detail == "nodes" else call)
    assert found["SumBackward0"] == (call if every_op_has_one else None)
    assert session.run.line_source == ("line clock" if every_op_has_one else "module calls")


# Beginnings and ends at odd moments


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
@pytest.mark.parametrize("moment", ["forward", "backward", "optimizer"])
def test_a_recording_may_stop_at_any_moment(tmp_path: Path, moment: str, detail: Detail) -> None:
    alone = fingerprints(mlp())
    program = mlp()
    recorder = gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail)
    middle: Any = program.model
    calls: list[int] = []

    def stop_at_the_third(*_: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            recorder.stop()

    if moment == "forward":
        middle[3].register_forward_hook(stop_at_the_third)
    elif moment == "backward":
        middle[3].weight.register_hook(stop_at_the_third)
    else:
        program.optimizer.register_step_post_hook(stop_at_the_third)
    assert fingerprints(program) == alone
    assert not recorder.is_recording
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert session.finish is not None
        assert session.gradient("9.weight").steps.tolist()[:2] == [0, 1]
        assert [notice for notice in session.notices if notice.kind == "probe stopped"] == []


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
@pytest.mark.parametrize("moment", ["forward", "backward"])
def test_a_recording_may_start_at_any_moment(tmp_path: Path, moment: str, detail: Detail) -> None:
    alone = fingerprints(mlp())
    program = mlp()
    middle: Any = program.model
    recorders: list[gradwatch.Recorder] = []

    def start_once(*_: object) -> None:
        if not recorders:
            recorders.append(gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail))

    if moment == "forward":
        middle[3].register_forward_hook(start_once)
    else:
        middle[3].weight.register_hook(start_once)
    assert fingerprints(program) == alone
    recorders[0].stop()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert session.gradient("9.weight").steps.tolist()[-4:] == [step.number for step in session.steps][-4:]
        assert len(session.steps) >= 5
        assert [notice for notice in session.notices if notice.kind == "probe stopped"] == []


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_stop_may_be_called_on_another_thread(tmp_path: Path, detail: Detail) -> None:
    program = mlp()
    recorder = gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail)
    program.step()
    thread = threading.Thread(target=recorder.stop)
    thread.start()
    thread.join()
    program.step()
    # At nodes our hooks lie on this thread's stack, out of that thread's reach.
    recorder.stop()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert len(session.steps) == 1


def test_a_model_that_the_program_drops_is_freed_while_recording(tmp_path: Path) -> None:
    freed: list[bool] = []
    with gradwatch.watch(path=tmp_path / "run.gradwatch", detail="nodes"):
        for _ in range(3):
            program = mlp()
            program.step()
            watched = [weakref.ref(program.model), *(weakref.ref(each) for each in program.model.parameters())]
            del program
            gc.collect()
            freed.append(all(each() is None for each in watched))
    assert freed == [True] * 3


def test_a_graph_that_is_never_run_is_freed_while_recording(tmp_path: Path) -> None:
    program = mlp()
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail="nodes"):
        program.step()
        freed: list[bool] = []
        for _ in range(3):
            node: Any = program.loss().grad_fn
            mark = weakref.ref(node.next_functions[0][0].metadata.setdefault("mark", _Mark()))
            del node
            freed.append(mark() is None)
    assert freed == [True] * 3


class _Mark:
    """Put into a node's metadata, it dies with the node."""


# Parameters that change their place


def test_a_parameter_that_is_replaced_is_followed_under_its_name(record: Record) -> None:
    model = nn.Sequential(nn.Linear(2, 2))

    def program() -> None:
        for step in range(4):
            if step == 2:
                model[0].weight = nn.Parameter(torch.ones(2, 2))
            model(torch.ones(1, 2)).sum().backward()

    session = record(program, model)
    names = [name for name in session.parameters.names if name.startswith("0.weight")]
    assert sorted(step for name in names for step in session.gradient(name).steps.tolist()) == [0, 1, 2, 3]


def test_the_originals_of_parametrized_weights_are_recorded(record: Record) -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    session = record(lambda: layer(torch.ones(1, 3)).sum().backward(), layer)
    assert {name.rpartition(".")[2] for name in session.parameters.names} == {"bias", "original0", "original1"}
    assert all(len(session.gradient(name)) == 1 for name in session.parameters.names)


def test_an_empty_parameter_does_no_harm(record: Record) -> None:
    empty = nn.Parameter(torch.empty(0, 3))

    def program() -> None:
        (empty.sum() + torch.ones((), requires_grad=True)).backward()

    session = record(program)
    assert session.notices == []
    assert session.gradient("empty").count.tolist() in ([0], [])

"""What a recording makes of threads, forks, failures and odd numbers: the program goes on as without it."""

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
from gradwatch.capture import graph_capture
from gradwatch.capture.modules import ModuleTable
from gradwatch.capture.pack_hooks import PackHooks
from gradwatch.capture.parameters import ParameterTable
from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.steps import Steps
from gradwatch.capture.updates import Updates
from gradwatch.errors import RecordingError, SessionExists, UsageError
from models import fingerprints, mlp, run_alone

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Record
    from gradwatch.records import Detail

# Threads


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
        threads = [threading.Thread(target=train, args=(model,)) for model in models.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    session = record(program, models, detail=detail, held=True)
    calls = [call for step in session.steps for call in step.backwards]
    assert len(calls) == 40
    assert all(len(session.gradient(f"{side}.0.weight", micro_batches=True)) == 20 for side in models)
    ops = {call.thread: set[str]() for call in calls}
    for call in calls:
        ops[call.thread] |= {node.name for node in call.graph.nodes if node.name.startswith(("Tanh", "Sigm"))}
    assert sorted(map(sorted, ops.values())) == [["SigmoidBackward0"], ["TanhBackward0"]]
    assert session.notices == []


# Failures of the program's own


class _FailsAt(nn.Module):
    """Raises in the calls whose numbers it is given."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self._numbers = numbers
        self._calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        hidden = self.inner(x)
        if self._calls - 1 in self._numbers:
            raise ValueError("no forward today")
        return hidden.exp()


def test_a_forward_that_raises_leaves_later_steps_right(record: Record) -> None:
    model = nn.Sequential(nn.Linear(2, 2), _FailsAt(1), nn.Linear(2, 1))

    def program() -> None:
        for step in range(3):
            if step == 1:
                with pytest.raises(ValueError, match="no forward today"):
                    model(torch.ones(1, 2))
            else:
                outside = torch.ones(2, requires_grad=True).sin().sum()
                (model(torch.ones(1, 2)).sum() + outside).backward()

    session = record(program, model)
    assert len(session.steps) == 2
    modules = [[(node.name, node.module) for node in session.graph(step).nodes if node.module] for step in (0, 1)]
    assert modules[0] == modules[1]
    assert ("ExpBackward0", "1") in modules[1]
    assert [node.module for node in session.graph(1).nodes if node.name == "SinBackward0"] == [""]
    assert session.gradient("1.inner").steps.tolist() == [0, 1]
    assert session.notices == []


class _RaisesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        raise ValueError("no backward today")


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
def test_a_backward_that_raises_is_recorded_and_passed_on(record: Record, detail: Detail) -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def program() -> None:
        for step in range(3):
            loss = layer(torch.ones(1, 2)).sum()
            if step == 1:
                with pytest.raises(ValueError, match="no backward today"):
                    _RaisesInBackward.apply(loss).backward()
            else:
                loss.backward()
            optimizer.step()

    session = record(program, layer, detail=detail)
    assert [step.interrupted for step in session.steps] == [None, "ValueError", None]
    assert [call.error for step in session.steps for call in step.backwards] == [None, "ValueError", None]
    assert session.gradient("weight").steps.tolist() == [0, 2]
    assert session.notices == []


def test_an_exception_in_the_block_is_passed_on_and_ends_the_recording_in_order(tmp_path: Path) -> None:
    program = mlp()

    def train() -> None:
        with gradwatch.watch(program.model, tmp_path / "run.gradwatch"):
            program.step()
            raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match=r"^CUDA out of memory$"):
        train()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert session.finished
        assert session.finish is not None
        assert session.finish.reason == "RuntimeError: CUDA out of memory"
        assert len(session.steps) == 1


# Processes


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError('x')", 1)])
def test_a_process_that_ends_without_stop_leaves_a_whole_file(tmp_path: Path, ending: str, code: int) -> None:
    path = tmp_path / "run.gradwatch"
    run_alone(
        f"""
        import gradwatch, models
        program = models.mlp()
        gradwatch.watch(program.model, {str(path)!r})
        for _ in range(3):
            program.step()
        {ending}
        """,
        expected_code=code,
    )
    with gradwatch.open(path) as session:
        assert session.finish is not None
        assert session.finish.reason == "process exit"
        assert len(session.steps) == 3
        assert session.gaps == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_forked_child_trains_on_and_the_parents_file_stays_whole(tmp_path: Path, detail: Detail) -> None:
    path = tmp_path / "run.gradwatch"
    printed = run_alone(f"""
        import os, torch, gradwatch, conftest, models
        from torch.utils.data import DataLoader
        torch.set_num_threads(1)
        program = models.mlp()
        recorder = gradwatch.watch(program.model, {str(path)!r}, detail={detail!r})
        program.step()
        loss = program.loss()
        child = os.fork()
        if child == 0:
            loss.backward()
            losses = [program.step() for _ in range(3)]
            left = [trace for trace in conftest.traces() if not trace.startswith("open file")]
            print("child", left, recorder.is_recording, flush=True)
            recorder.stop()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for batch in DataLoader(torch.arange(4), num_workers=1, multiprocessing_context="fork"):
            program.step()
        recorder.stop()
        print("parent", conftest.traces())
    """)
    assert printed.splitlines() == ["child [] False", "parent []"]
    with gradwatch.open(path) as session:
        assert len(session.steps) == 5
        assert session.finish is not None
        assert session.reader.verify() == []


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


# Failures of ours

BROKEN: dict[str, tuple[Any, str, Detail]] = {
    "module": (ModuleTable, "id_of", "modules"),
    "graph": (graph_capture, "walk", "modules"),
    "parameter gradient": (ParameterTable, "changed_since", "parameters"),
    "module gradient": (StatisticRows, "add", "modules"),
    "node gradient": (StatisticRows, "add", "nodes"),
    "saved tensor": (PackHooks, "_note", "nodes"),
    "optimizer": (Updates, "before", "parameters"),
    "step": (Steps, "call_began", "modules"),
}


@pytest.mark.parametrize("probe", BROKEN)
def test_an_error_of_ours_is_told_and_stops_its_probe_alone(
    record: Record, monkeypatch: pytest.MonkeyPatch, probe: str
) -> None:
    owner, name, detail = BROKEN[probe]
    alone = fingerprints(mlp())
    program = mlp()
    calls: list[str] = []
    recorded: list[str] = []

    def broken(*_arguments: object) -> None:
        calls.append(name)
        raise ZeroDivisionError("ours")

    def train() -> None:
        monkeypatch.setattr(owner, name, broken)
        recorded.extend(fingerprints(program))
        monkeypatch.undo()

    session = record(train, program.model, detail=detail)
    assert recorded == alone
    told = {notice.probe: notice for notice in session.notices if notice.kind == "probe stopped"}
    assert probe in told
    assert "ZeroDivisionError: ours" in told[probe].text
    assert name in calls
    assert f"in {broken.__name__}" in (told[probe].traceback or "")
    assert len(calls) <= 2  # probes that share the broken part fail once each
    if probe != "step":
        assert len(session.steps) == 6


def test_an_interruption_by_the_user_inside_a_hook_is_the_users(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = mlp()

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    def train() -> None:
        monkeypatch.setattr(graph_capture, "walk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.step()
        monkeypatch.undo()
        program.step()

    session = record(train, program.model)
    assert session.notices == []
    assert session.steps[-1].loss is not None


# Wrong use


def test_a_second_recording_is_refused_while_one_runs(tmp_path: Path) -> None:
    refused = pytest.raises(RecordingError, match=r"already recording to .*first\.gradwatch\.\nStop")
    with gradwatch.watch(path=tmp_path / "first.gradwatch"), refused:
        gradwatch.watch(path=tmp_path / "second.gradwatch")
    assert not (tmp_path / "second.gradwatch").exists()


def test_what_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    wrong: Any = [nn.Linear(1, 1), 3]
    with pytest.raises(UsageError, match=r"torch\.nn\.Module, a list of them, or a dict"):
        gradwatch.watch(wrong, tmp_path / "run.gradwatch")
    path: Any = "run.gradwatch"
    with pytest.raises(UsageError, match=r"is a model, not a path.*gradwatch\.watch\(path='run\.gradwatch'\)"):
        gradwatch.watch(path)
    detail: Any = "everything"
    with pytest.raises(
        UsageError, match=r"detail='everything' is not known\. Choose one of: parameters, modules, nodes"
    ):
        gradwatch.watch(nn.Linear(1, 1), tmp_path / "run.gradwatch", detail=detail)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(b"mine")
    with pytest.raises(SessionExists, match="overwrite=True"):
        gradwatch.watch(nn.Linear(1, 1), path)
    assert path.read_bytes() == b"mine"
    with gradwatch.watch(nn.Linear(1, 1), path, overwrite=True):
        pass
    with gradwatch.open(path) as session:
        assert session.finished


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="missing"):
        gradwatch.watch(nn.Linear(1, 1), tmp_path / "missing" / "run.gradwatch")


def test_a_recorder_can_be_stopped_twice_and_says_its_state(tmp_path: Path) -> None:
    recorder = gradwatch.watch(nn.Linear(1, 1), tmp_path / "run.gradwatch")
    assert recorder.is_recording
    assert recorder.step_number == 0
    recorder.stop()
    recorder.stop()
    recorder.step()
    assert not recorder.is_recording
    assert recorder.step_number == -1
    assert "stopped" in repr(recorder)


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

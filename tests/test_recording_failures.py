"""What a recording makes of errors, the program's and its own, of processes that end or fork, and of wrong use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

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
    from types import FrameType

    from conftest import Record
    from gradwatch.records import Detail

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

    def broken(*_arguments: object, **_options: object) -> None:
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
    assert len(calls) <= max(2, len(told))  # probes that share the broken part fail once each
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


def test_a_torch_without_what_the_ledger_reads_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with pytest.raises(RecordingError, match=r"torch 2\.10 or newer; this is torch 2\.9\.1\.\nUpgrade"):
        gradwatch.watch(path=tmp_path / "run.gradwatch")
    assert not (tmp_path / "run.gradwatch").exists()


@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_nothing_of_ours_in_python_runs_when_the_program_frees_a_tensor(tmp_path: Path, detail: Detail) -> None:
    """Python swallows a KeyboardInterrupt that arrives in a weak reference's callback or in `__del__`."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    called: list[str] = []

    def note_call(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_filename)

    with gradwatch.watch(model, tmp_path / "run.gradwatch", detail=detail) as recorder:
        for _ in range(2):
            batch = torch.ones(2, 4)
            hidden = model[1](model[0](batch))
            model[2](hidden).sum().backward()  # hidden and batch outlive their release
            unused = model(batch).sum()  # a graph that is dropped whole
            sys.setprofile(note_call)
            del hidden, batch, unused
            sys.setprofile(None)
            recorder.step()
    assert [name for name in called if "gradwatch" in name and "tests" not in name] == []
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        died = session.held(0).died
        assert died is not None
        assert (died > session.step(0).backwards[0].duration_ns).sum() >= 2  # and yet their deaths were noted

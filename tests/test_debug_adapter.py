"""At a stop under the real debug adapter: every way to start, every place in backward, and what goes wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from dap_client import AdapterError, DebugAdapter, StoppedAt, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRAIN = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train_step(batch):
        optimizer.zero_grad()
        loss = model(batch).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss  # STEP

    for step in range(3):
        train_step(torch.ones(5, 4))
"""


def program(folder: Path, text: str, name: str = "train.py") -> Path:
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


@pytest.fixture
def adapter() -> Iterator[DebugAdapter]:
    with DebugAdapter() as client:
        yield client


def launch(adapter: DebugAdapter, path: Path, *marks: str, **configuration: Any) -> StoppedAt:
    adapter.launch(path, {path: [line_of(path, mark) for mark in marks]}, **configuration)
    return adapter.stopped()


def snapshot(adapter: DebugAdapter, stopped: StoppedAt, **question: Any) -> dict[str, Any]:
    frame = {"file": stopped.path, "line": stopped.line, "function": stopped.function}
    answer = adapter.ask(stopped.frame, question="snapshot", **{"budget_ms": 20_000, "frame": frame, **question})
    assert answer["kind"] == "Snapshot", answer
    return answer["value"]


def parameters_of(snapshot: dict[str, Any]) -> list[str]:
    return [parameter["path"] for parameter in snapshot["parameters"]]


def test_a_launched_program_is_read_at_its_breakpoint(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, TRAIN), "STEP")
    read = snapshot(adapter, stopped)
    assert read["state"] == "ready"
    assert parameters_of(read) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert (read["stop"]["function"], read["stop"]["line"]) == ("train_step", stopped.line)
    assert {each["expression"] for each in read["variables"]} >= {"loss", "model", "optimizer"}
    assert read["variables"][read["root"]]["expression"] == "loss"


def test_the_next_stop_is_a_new_one_and_says_what_changed(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, TRAIN), "STEP")
    first = snapshot(adapter, stopped, stop=1)
    again = snapshot(adapter, stopped, stop=1)
    adapter.resume(stopped)
    second = snapshot(adapter, adapter.stopped(), stop=2)
    assert first["stop"]["number"] == again["stop"]["number"] < second["stop"]["number"]
    assert first["states"] == again["states"]
    assert second["states"]["changed"] != first["states"]["changed"]


def test_a_caller_s_frame_is_read_with_its_own_names(adapter: DebugAdapter, tmp_path: Path) -> None:
    text = """
        import torch
        def load(count):
            return count + 1  # LOAD
        def train():
            weight = torch.ones(3, requires_grad=True)
            return load(2), weight
        train()
    """
    stopped = launch(adapter, program(tmp_path, text), "LOAD")
    read = snapshot(adapter, stopped)
    assert read["state"] == "nothing differentiable"
    assert [(caller["function"], caller["depth"], caller["tensor_count"]) for caller in read["callers"]] == [
        ("train", 1, 1)
    ]
    frames = adapter.request("stackTrace", threadId=stopped.thread)["stackFrames"]
    caller = adapter.ask(frames[1]["id"], question="snapshot", budget_ms=20_000)["value"]
    assert caller["state"] == "ready"
    assert [variable["expression"] for variable in caller["variables"]] == ["weight"]


def test_a_program_without_torch_is_told_apart_and_left_without_it(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, "import sys\nprint(sys.path)  # HERE\n"), "HERE")
    assert snapshot(adapter, stopped)["state"] == "no torch"
    assert adapter.evaluate("str('torch' in sys.modules)", stopped.frame) == "False"


@pytest.mark.skipif(os.name == "nt", reason="a port is handed over, as on Unix")
def test_an_attached_program_is_read_at_its_breakpoint(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = program(tmp_path, TRAIN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    options = ["-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client"]
    running = subprocess.Popen([sys.executable, *options, str(path)], env=environment)
    try:
        with DebugAdapter(("127.0.0.1", port)) as adapter:
            adapter.configure("attach", {path: [line_of(path, "STEP")]})
            assert parameters_of(snapshot(adapter, adapter.stopped()))[0] == "0.weight"
    finally:
        running.kill()
        running.wait()


WORKER = """
    import torch
    weight = torch.full((2,), 3.0, requires_grad=True)
    loss = (weight * 3).sum()
    loss.backward()
    print("done")  # WORK
"""


def test_subprocesses_are_sessions_of_their_own(adapter: DebugAdapter, tmp_path: Path) -> None:
    worker = program(tmp_path, WORKER, "worker.py")
    parent = program(tmp_path, "import subprocess, sys\nsubprocess.run([sys.executable, 'worker.py'])  # RUN\n")
    adapter.launch(parent, {}, subProcess=True)
    with adapter.child() as child:
        configuration = child.attach_configuration
        names = {key: value for key, value in configuration.items() if key not in {"type", "request"}}
        child.configure("attach", {worker: [line_of(worker, "WORK")]}, **names)
        read = snapshot(child, child.stopped())
        assert read["run"]["pid"] == configuration["subProcessId"]
        assert {variable["expression"] for variable in read["variables"]} == {"weight", "loss"}


HOOKS = """
    import torch

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2
        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2  # CUSTOM

    def tensor_hook(gradient):
        return None  # TENSOR

    def node_hook(gradients):
        return None  # NODE

    weight = torch.ones(3, requires_grad=True)
    product = weight * 3
    product.register_hook(tensor_hook)
    doubled = Double.apply(product)
    total = doubled.sum()
    total.grad_fn.register_prehook(node_hook)
    total.backward()
    print("end")  # END
"""


@pytest.mark.parametrize(
    ("mark", "running"),
    [("NODE", "SumBackward0"), ("CUSTOM", "DoubleBackward"), ("TENSOR", "MulBackward0")],
)
def test_a_stop_inside_backward_says_which_node_runs(
    mark: str, running: str, adapter: DebugAdapter, tmp_path: Path
) -> None:
    read = snapshot(adapter, launch(adapter, program(tmp_path, HOOKS), mark))
    assert read["stop"]["in_backward"]
    assert name_of(read, read["stop"]["running"]) == running


def name_of(read: dict[str, Any], node: int) -> str:
    import base64

    import numpy as np

    columns = np.frombuffer(base64.b64decode(read["graph"]["name"]["data"]), "<i4")
    return read["graph"]["names"][columns[node]]


ENGINE_THREAD = """
    import threading, torch

    class Deep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, depth):
            ctx.depth = depth
            ctx.save_for_backward(x)
            return x.clone()
        @staticmethod
        def backward(ctx, gradient):
            if ctx.depth == 0:
                name = threading.current_thread().name
                return gradient, None  # DEEP
            with torch.enable_grad():
                Deep.apply(torch.ones(1, requires_grad=True), ctx.depth - 1).sum().backward()
            return gradient, None

    start = torch.ones(1, requires_grad=True)
    loss = Deep.apply(start, 70).sum()
    print("ready")  # READY
    loss.backward()
"""


def test_a_breakpoint_is_hit_on_a_thread_of_autograd_s_own(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, ENGINE_THREAD), "READY", "DEEP")
    snapshot(adapter, stopped)  # from the first question on, the engine's threads are the debugger's too
    adapter.resume(stopped)
    deep = adapter.stopped()
    assert deep.thread != stopped.thread
    assert adapter.evaluate("name", deep.frame) != "MainThread"
    read = snapshot(adapter, deep)
    assert read["stop"]["in_backward"]
    assert name_of(read, read["stop"]["running"]) == "DeepBackward"


def test_a_suspended_thread_s_lock_does_not_stop_the_answer(adapter: DebugAdapter, tmp_path: Path) -> None:
    text = """
        import logging, threading, time, torch
        held = threading.Event()
        def hold():
            with logging._lock:
                held.set()
                while True:
                    time.sleep(0.01)
        weight = torch.ones(3, requires_grad=True)
        loss = (weight * 2).sum()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        print("stop")  # HERE
    """
    stopped = launch(adapter, program(tmp_path, text), "HERE")
    assert snapshot(adapter, stopped)["state"] == "ready"


def test_a_budget_that_runs_out_gives_what_was_read_and_names_the_rest(adapter: DebugAdapter, tmp_path: Path) -> None:
    text = """
        import torch
        model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(400)])
        loss = model(torch.ones(2, 8)).sum()
        loss.backward()
        again = model(torch.ones(2, 8)).sum()
        print("stop")  # HERE
    """
    stopped = launch(adapter, program(tmp_path, text), "HERE")
    snapshot(adapter, stopped)  # what is imported and built once is not what is measured here
    read = snapshot(adapter, stopped, budget_ms=1)
    assert read["state"] == "ready"
    assert read["missing"]
    assert all(part["reason"] for part in read["missing"])
    whole = snapshot(adapter, stopped)
    assert whole["missing"] == []
    assert len(parameters_of(whole)) == 800


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_a_long_answer_arrives_whole(size: int, adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, "print('stop')  # HERE\n"), "HERE")
    assert adapter.evaluate(f"'x' * {size}", stopped.frame) == "x" * size


def test_ten_thousand_nodes_arrive_whole(adapter: DebugAdapter, tmp_path: Path) -> None:
    text = """
        import torch
        weight = torch.ones(2, requires_grad=True)
        total = weight
        for _ in range(10_000):
            total = total * 1.0
        total = total.sum()
        print("stop")  # HERE
    """
    read = snapshot(adapter, launch(adapter, program(tmp_path, text), "HERE"))
    assert read["graph"]["node_count"] == 10_002
    assert read["missing"] == []


def test_a_frame_that_is_gone_is_an_error_and_the_program_goes_on(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, TRAIN), "STEP")
    adapter.resume(stopped)
    later = adapter.stopped()
    with pytest.raises(AdapterError):
        adapter.ask(stopped.frame + 100_000, question="snapshot")
    assert snapshot(adapter, later)["state"] == "ready"


def test_a_question_that_is_none_is_answered_in_words(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = launch(adapter, program(tmp_path, TRAIN), "STEP")
    answer = adapter.ask(stopped.frame, question="weather")
    assert answer["kind"] == "Failure"
    assert "weather" in answer["value"]["message"]


def test_training_under_questions_ends_in_the_same_bits(adapter: DebugAdapter, tmp_path: Path) -> None:
    text = TRAIN + "\n    print('end', [p.double().sum().item().hex() for p in model.parameters()])  # END\n"
    path = program(tmp_path, text)
    stopped = launch(adapter, path, "STEP", "END")
    while stopped.line != line_of(path, "END"):
        snapshot(adapter, stopped)
        adapter.resume(stopped)
        stopped = adapter.stopped()
    asked = adapter.evaluate("repr([p.double().sum().item().hex() for p in model.parameters()])", stopped.frame)
    plain = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True).stdout
    assert plain == f"end {asked}\n"

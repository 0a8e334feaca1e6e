"""Stopping in backward in the real debugger: the frame it lands in, stepping by nodes, autograd's own threads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gradwatch
from dap_client import DebugAdapter, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dap_client import Message, StoppedAt

TRAINING = """\
import gc
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
x = torch.randn(5, 4)

def step():
    loss = (model(x) - 1).clamp(min=0).sqrt().mean()
    loss.backward()
    return loss

print("ready")  # ready
step()
print("again")  # again
loss = step()
gc.collect()
ours = [each for each in gc.get_objects() if getattr(each, "__module__", "") == "gradwatch.capture.backward_stops"]
hooks = [each for each in ours if getattr(each, "__name__", "") in ("prehook", "post_hook")]
print("hooks left:", hooks)  # left
"""

ON_ENGINE_THREADS = """\
import threading
import torch
from gradwatch.capture.engine_threads import watch_engine_threads

watch_engine_threads()

class Deep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, depth):
        ctx.depth = depth
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        if ctx.depth:
            with torch.enable_grad():
                start = torch.ones(1, requires_grad=True) * 1
                if ctx.depth == 1:
                    start.register_hook(hook)
                Deep.apply(start, ctx.depth - 1).sum().backward()
            return grad, None
        name = threading.current_thread().name
        return grad, None  # in custom backward

def hook(grad):
    name = threading.current_thread().name
    return grad  # in a tensor hook

Deep.apply(torch.ones(1, requires_grad=True), 70).sum().backward()
print("done")
"""

STOP_FRAME = "gradwatch (stopped in backward).py"


@pytest.fixture
def adapter() -> Iterator[DebugAdapter]:
    with DebugAdapter() as adapter:
        yield adapter


def start(adapter: DebugAdapter, program: Path, text: str, *marks: str, **configuration: Any) -> StoppedAt:
    program.write_text(text, encoding="utf-8")
    adapter.launch(program, {program: [line_of(program, mark) for mark in marks]}, **configuration)
    return adapter.stopped()


def set_conditions(adapter: DebugAdapter, frame: int | None, *conditions: Message) -> list[Message]:
    answer = adapter.ask(frame, question="conditions", conditions=list(conditions))
    assert answer["kind"] == "Conditions", answer
    return answer["value"]


def local_variables(adapter: DebugAdapter, stopped: StoppedAt) -> dict[str, str]:
    scope = adapter.request("scopes", frameId=stopped.frame)["scopes"][0]
    found = adapter.request("variables", variablesReference=scope["variablesReference"])["variables"]
    return {each["name"]: each["value"] for each in found}


def node_at(adapter: DebugAdapter, stopped: StoppedAt) -> str:
    assert Path(stopped.path).name == STOP_FRAME
    return adapter.evaluate("node.name()", stopped.frame)


def next_node(adapter: DebugAdapter, stopped: StoppedAt) -> StoppedAt:
    adapter.ask(stopped.frame, question="next node")
    adapter.resume(stopped)
    return adapter.stopped()


def test_the_first_nonfinite_gradient_lands_in_a_frame_of_its_own_and_steps_on(
    adapter: DebugAdapter, tmp_path: Path
) -> None:
    stopped = start(adapter, tmp_path / "train.py", TRAINING, "ready", "again", "left")
    set_conditions(adapter, stopped.frame, {"id": 0, "kind": "first non-finite"})
    adapter.resume(stopped)

    stopped = adapter.stopped()
    assert node_at(adapter, stopped) == "SqrtBackward0"
    names = local_variables(adapter, stopped)
    expected = ["forward_line", "grad_inputs", "grad_outputs", "module", "node", "reason", "saved_tensors"]
    assert sorted(names) == expected
    assert names["reason"] == "'Inf from SqrtBackward0: grad_inputs[0] (15 of 15)'"
    assert adapter.evaluate("str([list(each.shape) for each in grad_outputs])", stopped.frame) == "[[5, 3]]"
    assert adapter.evaluate("str(list(saved_tensors))", stopped.frame) == "['result']"
    snapshot = adapter.ask(stopped.frame, question="snapshot")["value"]
    assert (snapshot["stop"]["condition"], snapshot["stop"]["in_backward"]) == (0, True)
    assert snapshot["stop"]["reason"].startswith("Inf from SqrtBackward0")
    assert snapshot["conditions"][0]["hits"] == 1
    running = snapshot["stop"]["running"]
    subject = {"stop": snapshot["stop"]["number"], "field": "grad output", "node": running}
    values = adapter.ask(stopped.frame, question="values", subject=subject)
    assert (values["kind"], values["value"]["shape"]) == ("Values", [5, 3])

    seen: list[str] = []
    for _ in range(3):
        stopped = next_node(adapter, stopped)
        seen.append(node_at(adapter, stopped))
    assert seen == ["ClampBackward1", "SubBackward0", "AddmmBackward0"]
    assert adapter.evaluate("str(module)", stopped.frame) == "Linear(in_features=8, out_features=3, bias=True)"

    set_conditions(adapter, stopped.frame)
    adapter.resume(stopped)
    for _ in range(2):
        stopped = adapter.stopped()
        assert stopped.path.endswith("train.py")
        adapter.resume(stopped)
    adapter.event("terminated")
    assert "hooks left: []" in adapter.printed()


def test_nodes_parameters_and_modules_chosen_in_the_panel_are_stopped_at(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = start(adapter, tmp_path / "train.py", TRAINING, "ready", "again")
    set_conditions(
        adapter,
        stopped.frame,
        {"id": 1, "kind": "node", "name": "ReluBackward0"},
        {"id": 2, "kind": "parameter", "parameter": "model.0.bias"},
        {"id": 3, "kind": "module", "module": "model.2"},
        {"id": 4, "kind": "parameter", "parameter": "model.0.weight", "enabled": False},
    )
    seen: list[tuple[str, str]] = []
    while True:
        adapter.resume(stopped)
        stopped = adapter.stopped()
        if stopped.path.endswith("train.py"):
            break
        seen.append((node_at(adapter, stopped), adapter.evaluate("reason", stopped.frame)))
    leaf = "torch::autograd::AccumulateGrad"
    assert seen == [
        ("AddmmBackward0", "Gradient of an output of model.2"),
        (leaf, "Gradient of a parameter of model.2"),
        (leaf, "Gradient of a parameter of model.2"),
        ("ReluBackward0", "Break at node: ReluBackward0"),
        (leaf, "Gradient of model.0.bias"),
    ]
    listed = adapter.ask(stopped.frame, question="snapshot")["value"]["conditions"]
    assert [each["hits"] for each in listed] == [1, 1, 3, 0]


def test_conditions_set_while_the_program_runs_hold_from_the_next_call_on(
    adapter: DebugAdapter, tmp_path: Path
) -> None:
    program = """\
import time
import torch
print("running", flush=True)
while True:
    torch.zeros(1, requires_grad=True).sqrt().sum().backward()
    time.sleep(0.01)
"""
    path = tmp_path / "train.py"
    path.write_text(program, encoding="utf-8")
    adapter.launch(path, {})
    adapter.event("output", lambda body: "running" in body["output"])
    assert set_conditions(adapter, None, {"id": 0, "kind": "first non-finite"})[0]["hits"] == 0
    assert node_at(adapter, adapter.stopped()) == "SqrtBackward0"


def test_an_installed_copy_stops_under_just_my_code_and_shows_none_of_itself(
    adapter: DebugAdapter, tmp_path: Path
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "gradwatch").symlink_to(Path(gradwatch.__file__).parent)
    path = os.pathsep.join([str(packages), *(each for each in sys.path if each)])
    stopped = start(adapter, tmp_path / "train.py", TRAINING, "ready", env={"PYTHONPATH": path}, justMyCode=True)
    set_conditions(adapter, stopped.frame, {"id": 0, "kind": "first non-finite"})
    adapter.resume(stopped)
    stopped = adapter.stopped()
    stack = adapter.request("stackTrace", threadId=stopped.thread)["stackFrames"]
    assert [each["name"] for each in stack] == ["backward", "step", "<module>"]
    source = adapter.request("source", source=stack[0]["source"], sourceReference=stack[0]["source"]["sourceReference"])
    assert source["content"].startswith("# gradwatch stopped here")
    references = {stack[0]["source"]["sourceReference"]}
    stopped = next_node(adapter, stopped)
    stack = adapter.request("stackTrace", threadId=stopped.thread)["stackFrames"]
    assert {stack[0]["source"]["sourceReference"]} == references  # one tab in the editor
    adapter.request("next", threadId=stopped.thread)
    assert adapter.stopped().path.endswith("train.py")  # stepping over leaves for the program's own code


def test_breakpoints_are_hit_on_autograds_own_threads(adapter: DebugAdapter, tmp_path: Path) -> None:
    stopped = start(adapter, tmp_path / "deep.py", ON_ENGINE_THREADS, "in custom backward", "in a tensor hook")
    names: dict[str, str] = {}
    for _ in range(2):
        names[stopped.function] = adapter.evaluate("name", stopped.frame)
        adapter.resume(stopped)
        if len(names) < 2:
            stopped = adapter.stopped()
    adapter.event("terminated")
    assert set(names) == {"backward", "hook"}
    assert "MainThread" not in names.values()
    assert "done" in adapter.printed()


def test_without_a_debugger_conditions_count_and_nothing_stops(tmp_path: Path) -> None:
    import torch

    from gradwatch.capture import conditions
    from gradwatch.records import Condition

    try:
        conditions.set_conditions([Condition(0, "first non-finite")])
        torch.zeros(1, requires_grad=True).sqrt().sum().backward()
        assert conditions.current()[0].hits == 1
        assert conditions.notices() == []
    finally:
        conditions.set_conditions([])

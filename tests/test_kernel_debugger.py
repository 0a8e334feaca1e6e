"""At a breakpoint in a notebook's cell the same questions are answered, over the kernel's own debug channel."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

import pytest

from kernel_debugger import KernelDebugger

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
import torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
"""

CELL = """def train_step(x):
    loss = net(x).pow(2).sum()
    loss.backward()
    again = net(x).sum()
    return again
train_step(torch.ones(5, 4))
"""


@pytest.fixture(scope="module")
def stopped() -> Iterator[tuple[KernelDebugger, int]]:
    with KernelDebugger() as kernel:
        kernel.run(SETUP)
        yield kernel, kernel.run_to_line(CELL, 5)


def snapshot_of(stopped: tuple[KernelDebugger, int], **question: Any) -> dict[str, Any]:
    kernel, frame = stopped
    answer = kernel.ask(frame, question="snapshot", budget_ms=10_000, **question)
    assert answer["kind"] == "Snapshot", answer
    return answer["value"]


def test_gradients_of_a_cell_are_those_that_torch_computed(stopped: tuple[KernelDebugger, int]) -> None:
    snapshot = snapshot_of(stopped)
    kernel, frame = stopped
    expected = kernel.evaluate("repr([float(p.grad.norm()) for p in net.parameters()])", frame)
    (gradients,) = [rows for rows in snapshot["gradients"] if rows["subject_kind"] == "parameter"]
    norms = numbers(gradients["columns"]["l2"])
    names = {parameter["id"]: parameter["path"] for parameter in snapshot["parameters"]}
    found = {names[int(row)]: norm for row, norm in zip(numbers(gradients["subjects"]), norms, strict=True)}
    assert list(found) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(found.values()) == pytest.approx([float(part) for part in expected.strip("[]").split(",")], rel=1e-5)


def test_the_graph_is_that_of_the_latest_scalar_of_the_cell(stopped: tuple[KernelDebugger, int]) -> None:
    snapshot = snapshot_of(stopped)
    assert snapshot["variables"][snapshot["root"]]["expression"] == "again"
    graph = snapshot["graph"]
    assert graph["names"][numbers(graph["name"])[graph["roots"][0]]] == "SumBackward0"
    assert snapshot["stop"]["function"] == "train_step" or snapshot["stop"]["function"] == ""


def test_another_variable_of_the_cell_can_be_chosen(stopped: tuple[KernelDebugger, int]) -> None:
    snapshot = snapshot_of(stopped, root="loss")
    assert snapshot["variables"][snapshot["root"]]["expression"] == "loss"


def test_values_of_a_gradient_come_in_a_window(stopped: tuple[KernelDebugger, int]) -> None:
    snapshot = snapshot_of(stopped)
    kernel, frame = stopped
    parameter = next(each["id"] for each in snapshot["parameters"] if each["path"] == "0.weight")
    subject = {"stop": snapshot["stop"]["number"], "field": "grad", "parameter": parameter}
    window = {"index": [], "row": 1, "column": 0, "rows": 2, "columns": 4}
    answer = kernel.ask(frame, question="values", subject=subject, find_nonfinite=False, budget_ms=5000, **window)
    assert answer["kind"] == "Values", answer
    expected = kernel.evaluate("repr(net[0].weight.grad[1:3].flatten().tolist())", frame)
    assert numbers(answer["value"]["values"]) == pytest.approx([float(x) for x in expected.strip("[]").split(",")])


def numbers(column: dict[str, str]) -> list[Any]:
    """The values of a column that came as JSON."""
    data = base64.b64decode(column["data"])
    code = {"|u1": "B", "<i4": "i", "<u4": "I", "<f4": "f", "<f8": "d", "<u8": "Q"}[column["dtype"]]
    return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))

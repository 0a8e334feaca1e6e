"""One record of each type that the answers rest on, every field filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.records import (
    Activations,
    Birth,
    Copies,
    Cut,
    DeadEnd,
    FanIn,
    FanIns,
    Fault,
    Finding,
    Findings,
    ForeignParameter,
    GradientNoise,
    Holder,
    ModuleCalls,
    Operand,
    OptimizerMembers,
    OutOfMemory,
    Passage,
    Retained,
    Trace,
    Trial,
    Write,
)
from session_factory import column

if TYPE_CHECKING:
    from gradwatch.records import Record

IDS, ONE = column("<u4", [0]), column("<u4", [1])

ANSWERS: list[Record] = [
    ModuleCalls(3, column("<i4", [0]), ONE, column("<u4", [0]), column("|u1", [1]), column("<i8", [12_000])),
    OptimizerMembers(3, 0, "Adam", IDS, [ForeignParameter([2, 3], "float32", 0)]),
    Trace(
        3,
        "first step",
        op_count=7,
        truncated=False,
        used_parameters=IDS,
        uses=ONE,
        cuts=[Cut("detached", "Tensor.detach", 0, 0, 0, [0], reaches_loss=True, name="features", count=2)],
        dead_ends=[DeadEnd("MulBackward0", "torch.mul", 0, 0, 0, [0], "auxiliary", 24, 1)],
        writes=[Write("Tensor.add_", 0, 0, 0, "update", "weight", [0])],
        graph=0,
        node_site=column("<i4", [-1, 0]),
        node_project_site=column("<i4", [-1, 0]),
    ),
    Activations(3, IDS, {"count": column("<u8", [6]), "nan": column("<u8", [1])}),
    Birth(
        3,
        0,
        "backward",
        nan=1,
        inf=0,
        graph=0,
        node=1,
        op="Sqrt",
        module=0,
        site=0,
        project_site=0,
        exact=True,
        operands=[Operand("self", [2, 3], "float32", 6, 1, 0, 0, 0.0, 4.0, {"unselected zeros": 1.0})],
        path=[0],
        parameters=[0],
        name="distance",
    ),
    FanIns(3, 0, 0, [FanIn(1, 0, [2, 3], [1.0, 2.0], [0.25, 0.75], [0.5])], [Passage(1, 2.0, 0.5, 0.25, 3)]),
    GradientNoise(3, 16, IDS, column("<f4", [1.0]), column("<f4", [2.0]), column("<u4", [6]), column("<u4", [1])),
    Retained(3, 2, [0, 1], 24, 7, "MeanBackward0", 0, 0, [Holder("losses[1]", "local", 0, 2)], "loss"),
    Fault(3, 0, "in-place", "ExpBackward0", 0, 0, "Tensor.add_", 0, 0, 0, 0, 1, "y", "result", message="modified"),
    OutOfMemory(3, "forward", "cuda:0", "out of memory", "empty", 0, 0, 0, 64, 32, 48, 80, 16, class_bytes=[24, 0]),
    Copies(3, 0, 0, 0, column("<i4", [0]), column("<i4", [1])),
    Trial("checkpoint", "blocks.*", [0], 3, 4, 48, 24, 1000, 1100, same_gradients=True, note="measured"),
    Findings([Finding("nan", "error", "NaN born in sqrt", "It was.", fix="torch.where", steps=[3, 3], parameters=[0])]),
]

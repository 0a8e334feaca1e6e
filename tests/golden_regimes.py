"""The golden session "regimes": a compiled node that opens, a loss scale, a skipped step, local gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradwatch.records import (
    Module,
    Modules,
    NodeLabel,
    Parameters,
    Record,
    Site,
    Sites,
    SourceFile,
)
from gradwatch.session.series_writer import SeriesWriter
from session_factory import (
    FINISH,
    RUN,
    Node,
    RegionOp,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    histograms,
    ledger,
    parameter,
    region,
    session_bytes,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "/home/someone/project/scaled.py"
SOURCE = """import torch
from torch import nn

class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        h = self.fc(x)
        return torch.sin(h) * torch.cos(h)

loss = torch.compile(Wave())(x).sum()
scaler.scale(loss).backward()
"""
LABEL = "a compiled region: its inner ops and lines are those of AOTAutograd's graph"

# h = fc(x) is saved; its sine and cosine are computed again in the backward.
FORWARD = [
    RegionOp("primals_1", "input", (2, 2)),
    RegionOp("primals_2", "input", (2,)),
    RegionOp("primals_3", "input", (8, 2), saved=True),
    RegionOp("permute", "aten.permute.default", (2, 2), site=0, module=1, uses=(0,)),
    RegionOp("addmm", "aten.addmm.default", (8, 2), site=0, module=1, saved=True, uses=(1, 2, 3)),
    RegionOp("sin", "aten.sin.default", (8, 2), site=1, module=0, uses=(4,)),
    RegionOp("cos", "aten.cos.default", (8, 2), site=1, module=0, uses=(4,)),
    RegionOp("mul", "aten.mul.Tensor", (8, 2), site=1, module=0, uses=(5, 6)),
]
BACKWARD = [
    RegionOp("primals_3", "input", (8, 2), forward_op=2),
    RegionOp("addmm", "input", (8, 2), forward_op=4),
    RegionOp("tangents_1", "input", (8, 2)),
    RegionOp("cos", "aten.cos.default", (8, 2), site=1, recomputed=True, forward_op=6, uses=(9,)),
    RegionOp("mul_1", "aten.mul.Tensor", (8, 2), site=1, uses=(10, 11)),
    RegionOp("sin", "aten.sin.default", (8, 2), site=1, recomputed=True, forward_op=5, uses=(9,)),
    RegionOp("mul_2", "aten.mul.Tensor", (8, 2), site=1, uses=(10, 13)),
    RegionOp("mul_3", "aten.mul.Tensor", (8, 2), site=1, uses=(12, 11)),
    RegionOp("permute_1", "aten.permute.default", (2, 8), site=0, uses=(15,)),
    RegionOp("mm", "aten.mm.default", (2, 2), site=0, uses=(16, 8)),
    RegionOp("sum_1", "aten.sum.dim_IntList", (2,), site=0, uses=(15,)),
]

SCALES = (65536.0, 65536.0, 32768.0)
"""Of each step; the second is skipped, and the scale halved."""


def regimes() -> tuple[bytes, dict[str, Any]]:
    """Three steps of rank 0 of two."""
    steps = [_names() + _step(0, 2.0), _step(1, math.inf, skipped=True), _step(2, 1.0)]
    run = replace(RUN, world_size=2, argv=["scaled.py"])
    return session_bytes(steps, run=run, series=SeriesWriter(1, narrowest_width=2)), _expected()


def _names() -> list[Record]:
    nodes = [
        Node("AccumulateGrad", parameter=0),
        Node("AccumulateGrad", parameter=1),
        Node("CompiledFunctionBackward", module=0, site=2),
        Node("SumBackward0", site=2),
    ]
    walked = graph(0, nodes, [(3, 0, 2, 0), (2, 0, 0, 0), (2, 1, 1, 0)], [3])
    saved = [Saved(2, "saved", 0, (8, 2)), Saved(2, "saved", 1, (8, 2))]
    return [
        SourceFile(FILE, "0" * 64, SOURCE),
        Sites([Site(0, FILE, 10, "forward"), Site(1, FILE, 11, "forward"), Site(2, FILE, 13, "<module>")]),
        Modules([Module(0, "model", "", "Wave"), Module(1, "model", "fc", "Linear")]),
        Parameters([parameter(0, "fc.weight", [2, 2], module=1), parameter(1, "fc.bias", [2], module=1)]),
        region(0, "forward", FORWARD, BACKWARD),
        replace(walked, labels=[NodeLabel(2, "compiled", LABEL, region=0)]),
        ledger(0, 0, saved, [Storage(64, "input"), Storage(64)]),
    ]


def _step(number: int, size: float, *, skipped: bool = False) -> list[Record]:
    """One step: unscaled, the reduced gradient of the bias is (3, 4) times `size`, and this rank's own half of it."""
    scale = SCALES[number]
    weight, bias = [[value * size * scale for value in of] for of in ([1.0, 1.0, 1.0, 1.0], [3.0, 4.0])]
    own = {0: _halved(weight), 1: _halved(bias)}
    records: list[Record] = [
        backward(number, graph=0, ledger=0, held_bytes=128, class_bytes=[64, 0, 0, 64, 0, 0]),
        gradients(number, own, "local"),
        gradients(number, {0: weight, 1: bias}),
        gradients(number, {0: weight, 1: bias, 2: [scale] * 16, 3: [scale]}, "node"),
    ]
    if not skipped:
        records.append(histograms(number, {0: weight, 1: bias}))
    return [*records, step(number, 0.5, loss_scale=scale, skipped=skipped)]


def _halved(values: Sequence[float]) -> list[float]:
    """Finite also where the reduced ones are not: another rank's overflowed."""
    return [value / 2 if math.isfinite(value) else 1.0 for value in values]


def _expected() -> dict[str, Any]:
    names = [op.name for op in [*FORWARD, *BACKWARD]]
    return {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [
            {"number": number, "loss": 0.5, "complete": True, "backwards": [{"graph": 0, "ledger": 0}]}
            for number in range(3)
        ],
        "scaled": [
            {"number": 0, "loss_scale": 65536, "skipped": False},
            {"number": 1, "loss_scale": 65536, "skipped": True},
            {"number": 2, "loss_scale": 32768, "skipped": False},
        ],
        "parameters": ["fc.weight", "fc.bias"],
        "modules": ["model", "fc"],
        "gradients": {
            "fc.weight": {"steps": [0, 1, 2], "norm": [262144, "nan", 65536], "inf": [0, 4, 0]},
            "fc.bias": {"steps": [0, 1, 2], "norm": [655360, "nan", 163840]},
        },
        "local": {
            "fc.weight": {"0": 131072, "1": 2, "2": 32768},
            "fc.bias": {"0": 327680, "1": math.sqrt(2), "2": 81920},
        },
        "graph": {
            "step": 0,
            "nodes": [
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "fc.weight", "norm": 262144},
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "fc.bias", "norm": 655360},
                {
                    "name": "CompiledFunctionBackward",
                    "module": "model",
                    "line": "scaled.py:13",
                    "parameter": None,
                    "norm": 262144,
                },
                {"name": "SumBackward0", "module": "", "line": "scaled.py:13", "parameter": None, "norm": 65536},
            ],
            "edges": [[3, 0, 2, 0], [2, 0, 0, 0], [2, 1, 1, 0]],
            "roots": [3],
        },
        "compiled": {
            "node": 2,
            "region": 0,
            "name": "forward",
            "backend": "inductor",
            "ops": names,
            "forward": 8,
            "saved": ["primals_3", "addmm"],
            "saved_bytes": [64, 64],
            "recomputed": ["sin", "cos"],
            "lines": {"addmm": "scaled.py:10", "mul": "scaled.py:11", "primals_1": None},
        },
        "totals": {
            "gradient_norm": {"0": math.hypot(262144, 655360), "1": 0, "2": math.hypot(65536, 163840)},
            "nonfinite": {"0": 0, "1": 2, "2": 0},
            "held_bytes": {"0": 128, "2": 128},
        },
        "totals_to": 2,
        "variants": [[0, [0, 1, 2]]],
        "notices": [],
    }

"""The golden session "findings": what was found stands in the file, for readers that cannot find themselves."""

from __future__ import annotations

import math
from typing import Any

from gradwatch.records import (
    Finding,
    Findings,
    Module,
    Modules,
    Parameters,
    Record,
    Site,
    Sites,
    SourceFile,
)
from gradwatch.session.series_writer import SeriesWriter
from session_factory import (
    FINISH,
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    ledger,
    parameter,
    session_bytes,
    step,
)

FILE = "/home/someone/project/roots.py"
SOURCE = """import torch
from torch import nn

class Roots(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        h = self.fc(x)
        h = h.clamp(min=0)
        return h.sqrt()

loss = model(x).sum()
loss.backward()
"""
KIB = 1024

NOT_REACHED = Finding(
    kind="unreached",
    severity="warning",
    title="No gradient",
    sentence="model.spare.weight got no gradient in any of 3 steps: `spare` is never called.",
    cause="never called",
    fix="Call `self.spare` in `forward`, or freeze it with `requires_grad_(False)`.",
    steps=[0, 2],
    parameters=[2],
    modules=[2],
    site=0,
    evidence=["0 calls in 3 steps", ".grad is None after each backward"],
)
BORN = Finding(
    kind="nan",
    severity="error",
    title="NaN born in sqrt",
    sentence="The backward of sqrt at 0 divides by 0: 4 of 16 inputs were 0, and 0 times Inf is NaN.",
    cause="sqrt at 0",
    fix="Write `(h + 1e-12).sqrt()`: the clamp on line 12 makes exact zeros.",
    steps=[1, 2],
    backward=0,
    graph=0,
    nodes=[3],
    parameters=[0, 1],
    modules=[0],
    site=2,
    other_site=1,
    name="h",
    evidence=["sqrt, input: 4 of 16 are 0", "sqrt, grad input: 4 NaN"],
)
HELD = Finding(
    kind="held",
    severity="note",
    title="One line holds most",
    sentence="96.0 KiB of the 128 KiB held for backward were saved by one line.",
    fix="torch.utils.checkpoint around it frees what it saved, for the time of running it again.",
    steps=[0, 2],
    graph=0,
    nodes=[3],
    site=2,
    bytes=96 * KIB,
    certainty="estimated",
)
STALE = Finding(
    kind="stale",
    severity="note",
    title="Stale .grad",
    sentence="model.fc.bias was last written 1 step ago.",
    steps=[2, 2],
    parameters=[1],
    certainty="inferred",
)
FOUND = (BORN, NOT_REACHED, HELD, STALE)
"""The worst first, as they are found."""


def findings() -> tuple[bytes, dict[str, Any]]:
    """Three steps; from the second on a NaN is born."""
    steps = [_names() + _step(0, 1.0), _step(1, math.nan), [*_step(2, math.nan), Findings(list(FOUND))]]
    return session_bytes(steps, series=SeriesWriter(1, narrowest_width=3)), _expected()


def _names() -> list[Record]:
    nodes = [
        Node("AccumulateGrad", parameter=0),
        Node("AccumulateGrad", parameter=1),
        Node("AddmmBackward0", module=1, site=0),
        Node("SqrtBackward0", module=0, site=2),
        Node("SumBackward0", site=3),
    ]
    saved = [Saved(2, "mat1", 0, (8, 2)), Saved(3, "result", 1, (8, 2))]
    return [
        SourceFile(FILE, "0" * 64, SOURCE),
        Sites(
            [
                Site(0, FILE, 11, "forward"),
                Site(1, FILE, 12, "forward"),
                Site(2, FILE, 13, "forward"),
                Site(3, FILE, 15, "<module>"),
            ]
        ),
        Modules(
            [Module(0, "model", "", "Roots"), Module(1, "model", "fc", "Linear"), Module(2, "model", "spare", "Linear")]
        ),
        Parameters(
            [
                parameter(0, "fc.weight", [2, 2], module=1),
                parameter(1, "fc.bias", [2], module=1),
                parameter(2, "spare.weight", [2, 2], module=2),
            ]
        ),
        graph(0, nodes, [(4, 0, 3, 0), (3, 0, 2, 0), (2, 0, 1, 0), (2, 1, 0, 0)], [4]),
        ledger(0, 0, saved, [Storage(32 * KIB, "input"), Storage(96 * KIB)]),
    ]


def _step(number: int, size: float) -> list[Record]:
    weight, bias = [3 * size, 0.0, 0.0, 4.0], [size, 0.0]
    return [
        backward(number, graph=0, ledger=0, held_bytes=128 * KIB, class_bytes=[96 * KIB, 0, 0, 32 * KIB, 0, 0]),
        gradients(number, {0: weight, 1: bias}),
        step(number, 0.5),
    ]


def _expected() -> dict[str, Any]:
    return {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [
            {"number": number, "loss": 0.5, "complete": True, "backwards": [{"graph": 0, "ledger": 0}]}
            for number in range(3)
        ],
        "parameters": ["fc.weight", "fc.bias", "spare.weight"],
        "modules": ["model", "fc", "spare"],
        "gradients": {
            "fc.weight": {"steps": [0, 1, 2], "norm": [5, 4, 4], "nan": [0, 1, 1]},
            "fc.bias": {"steps": [0, 1, 2], "norm": [1, 0, 0], "nan": [0, 1, 1]},
        },
        "graph": {
            "step": 0,
            "nodes": [
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "fc.weight"},
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "fc.bias"},
                {"name": "AddmmBackward0", "module": "fc", "line": "roots.py:11", "parameter": None},
                {"name": "SqrtBackward0", "module": "model", "line": "roots.py:13", "parameter": None},
                {"name": "SumBackward0", "module": "", "line": "roots.py:15", "parameter": None},
            ],
            "edges": [[4, 0, 3, 0], [3, 0, 2, 0], [2, 0, 1, 0], [2, 1, 0, 0]],
            "roots": [4],
        },
        "totals": {
            "gradient_norm": {"0": math.hypot(5, 1), "1": 4, "2": 4},
            "nonfinite": {"0": 0, "1": 2, "2": 2},
            "held_bytes": {"0": 128 * KIB, "2": 128 * KIB},
        },
        "totals_to": 2,
        "variants": [[0, [0, 1, 2]]],
        "notices": [],
        "findings": [
            _told(BORN, "roots.py:13", "roots.py:12"),
            _told(NOT_REACHED, "roots.py:11", None),
            _told(HELD, "roots.py:13", None),
            _told(STALE, None, None),
        ],
    }


def _told(finding: Finding, line: str | None, other_line: str | None) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "title": finding.title,
        "line": line,
        "other_line": other_line,
        "steps": finding.steps,
        "evidence": finding.evidence,
        "certainty": finding.certainty,
    }

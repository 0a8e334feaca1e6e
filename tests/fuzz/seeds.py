"""What is mutated: the golden sessions, and a small one of the topics that they lack."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from gradwatch.records import (  # noqa: E402  # the factory stands in the folder above
    GradientStates,
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Notice,
    Parameters,
    Site,
    Sites,
    SourceFile,
    Stop,
)
from session_factory import (  # noqa: E402  # as above
    START_NS,
    Node,
    Saved,
    Storage,
    backward,
    column,
    gradients,
    graph,
    held,
    histograms,
    ledger,
    optimizer_step,
    parameter,
    session_bytes,
    statistics,
    step,
)

GOLDEN = TESTS / "golden"


def seeds() -> list[bytes]:
    """Return the golden sessions by name, then the one with a stop."""
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*.gradwatch"))] + [stopped_session()]


def stopped_session() -> bytes:
    """Make a session of one step, at which a debugger stopped: every topic has a record."""
    names = [
        SourceFile("/home/someone/train.py", "0" * 64, "loss = model(x)\nloss.backward()\n"),
        Sites([Site(0, "/home/someone/train.py", 1, "<module>")]),
        Modules([Module(0, "model", "", "Net"), Module(1, "model", "head", "Linear")]),
        Parameters([parameter(0, "head.weight", (2, 2), module=1), parameter(1, "head.bias", (2,), aliases=["b"])]),
        ModuleOutputs([ModuleOutput(0, 1, "", 0)]),
    ]
    nodes = [Node("AccumulateGrad", 1, 0, 0), Node("AddmmBackward0", 1, 0), Node("SumBackward0", 0, 0)]
    structure = graph(0, nodes, [(1, 0, 0, 0), (2, 0, 1, 0)], [2])
    saved = ledger(
        0, 0, [Saved(1, "mat1", 0, (2, 2), 0), Saved(2, "self", 1, (2,))], [Storage(64), Storage(8, "input")]
    )
    at_stop = replace(gradients(0, {0: [1.0, float("nan")]}), backward=-1, stop=1)
    step_records = [
        structure,
        saved,
        backward(0, graph=0, ledger=0, held_bytes=72, class_bytes=[64, 0, 0, 8, 0, 0]),
        gradients(0, {0: [1.0, -2.0], 1: [0.0]}),
        gradients(0, {0: [1.5]}, "module"),
        replace(gradients(0, {}, "node"), subjects=column("<u4", [1, 2]), columns=statistics([[1.0], [float("inf")]])),
        histograms(0, {0: [1.0, -2.0]}),
        held(0, [(0, 72), (10, 8), (20, 0)], [10, 20]),
        optimizer_step(0, {0: (2.2, 1.0, 0.1), 1: (0.0, 1.0, 0.0)}),
        step(0, loss=0.5),
    ]
    stop_records = [
        Stop(1, START_NS, 0, 1, "MainThread", "/home/someone/train.py", 2, "<module>", graph=0, running=1),
        at_stop,
        GradientStates(
            1,
            column("<u4", [0, 1]),
            column("|u1", [2, 0]),
            column("<i4", [0, 3]),
            column("|u1", [1, 0]),
            column("<f4", [1.0, float("nan")]),
            column("|u1", [0, 1]),
        ),
        Notice("not observable", "the inside of a compiled region", step=0, subject_kind="module", subject=1),
    ]
    return session_bytes([names, step_records, stop_records])

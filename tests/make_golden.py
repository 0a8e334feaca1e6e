"""Writes tests/golden: tiny sessions, and beside each what every reader must say of it.

The expectations are worked out by hand, not read back. Run it after a change of the format:
python tests/make_golden.py
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from golden_findings import findings
from golden_regimes import regimes
from gradwatch.records import (
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Notice,
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
    column,
    gradients,
    graph,
    held,
    histograms,
    ledger,
    optimizer_step,
    parameter,
    session_bytes,
    step,
)

GOLDEN = Path(__file__).parent / "golden"

SOURCE = "import torch\n\nw = torch.tensor(1.0)\nb = torch.tensor(0.5)\nx = 2.0\ny = w * x + b\nloss = y ** 2\n"
FILE = "/home/someone/project/seed.py"

# y = w * x + b, loss = y ** 2: two leaves, then a product, a sum and a square.
SEED_NODES = [
    Node("AccumulateGrad", parameter=0),
    Node("AccumulateGrad", parameter=1),
    Node("MulBackward0", module=0, site=0),
    Node("AddBackward0", module=0, site=0),
    Node("PowBackward0", site=1),
]
SEED_EDGES = [(4, 0, 3, 0), (3, 0, 2, 0), (3, 1, 1, 0), (2, 0, 0, 0)]


def seed_names() -> list[Record]:
    return [
        SourceFile(FILE, "0" * 64, SOURCE),
        Sites([Site(0, FILE, 6, "<module>"), Site(1, FILE, 7, "<module>")]),
        Modules([Module(0, "model", "", "Line")]),
        Parameters([parameter(0, "w", module=0), parameter(1, "b", module=0)]),
        ModuleOutputs([ModuleOutput(0, 0, "", 0)]),
        graph(0, SEED_NODES, SEED_EDGES, [4]),
        ledger(
            0,
            0,
            [Saved(2, "other", 0), Saved(4, "self", 1), Saved(4, "exponent", 2)],
            [Storage(4, "input"), Storage(4), Storage(4, "parameter")],
        ),
    ]


def seed_step(number: int, w: float, b: float) -> list[Record]:
    """One step with x = 2 and a learning rate of 0.01."""
    y = w * 2 + b
    dy, dw, db = 2 * y, 4 * y, 2 * y
    return [
        backward(number, graph=0, ledger=0, held_bytes=12, class_bytes=[4, 4, 0, 4, 0, 0]),
        gradients(number, {0: [dw], 1: [db]}),
        gradients(number, {0: [dy]}, "module"),
        gradients(number, {0: [dw], 1: [db], 2: [dy], 3: [dy], 4: [1.0]}, "node"),
        histograms(number, {0: [dw], 1: [db]}),
        optimizer_step(number, {0: (dw, w, 0.01 * dw / w), 1: (db, b, 0.01 * db / b)}),
        held(number, [(0, 8), (100, 4), (300, 0)], [300, 100, 100]),
        step(number, y * y),
    ]


def seed() -> tuple[bytes, dict[str, Any]]:
    content = session_bytes([seed_names() + seed_step(0, 1.0, 0.5), seed_step(1, 0.9, 0.45)])
    return content, {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [
            {"number": 0, "loss": 6.25, "complete": True, "backwards": [{"graph": 0, "ledger": 0}]},
            {"number": 1, "loss": 5.0625, "complete": True, "backwards": [{"graph": 0, "ledger": 0}]},
        ],
        "parameters": ["w", "b"],
        "modules": ["model"],
        "gradients": {
            "w": {"steps": [0, 1], "norm": [10, 9], "min": [10, 9], "count": [1, 1], "zeros": [0, 0], "nan": [0, 0]},
            "b": {"steps": [0, 1], "norm": [5, 4.5], "mean": [5, 4.5]},
            "model": {"steps": [0, 1], "norm": [5, 4.5]},
        },
        "histograms": {"w": [{"50": 1}, {"50": 1}], "b": [{"49": 1}, {"49": 1}]},
        "optimizer": {"w": {"parameter_norm": [1, 0.9], "update_ratio": [0.1, 0.1], "gradient_norm_at_step": [10, 9]}},
        "graph": {
            "step": 0,
            "nodes": [
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "w", "norm": 10},
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "b", "norm": 5},
                {"name": "MulBackward0", "module": "model", "line": "seed.py:6", "parameter": None, "norm": 5},
                {"name": "AddBackward0", "module": "model", "line": "seed.py:6", "parameter": None, "norm": 5},
                {"name": "PowBackward0", "module": "", "line": "seed.py:7", "parameter": None, "norm": 1},
            ],
            "edges": [[4, 0, 3, 0], [3, 0, 2, 0], [3, 1, 1, 0], [2, 0, 0, 0]],
            "roots": [4],
        },
        "held": {
            "step": 0,
            "total_bytes": 8,
            "peak_bytes": 8,
            "class_bytes": {"activation": 4, "parameter": 4, "buffer": 0, "input": 4},
            "by": {
                "line": [["seed.py:6", 4], ["seed.py:7", 4]],
                "module": [["(no module)", 4], ["model", 4]],
                "op": [["MulBackward0", 4], ["PowBackward0", 4]],
                "role": [["other", 4], ["self", 4]],
            },
            "curve": [[0, 8], [100, 4], [300, 0]],
        },
        "variants": [[0, [0, 1]]],
        "notices": [],
    }


def accumulate() -> tuple[bytes, dict[str, Any]]:
    names: list[Record] = [
        Modules([Module(0, "model", "", "Net"), Module(1, "model", "head", "Linear")]),
        Parameters(
            [
                parameter(0, "head.weight", [2, 2], module=1),
                parameter(1, "head.bias", [2], module=1, aliases=["tail.bias"]),
            ]
        ),
    ]
    first: list[Record] = [
        backward(0, 0),
        gradients(0, {0: [1, -1, 1, 1], 1: [3, 4]}, backward=0),
        backward(0, 1),
        gradients(0, {0: [2, -2, 2, 2], 1: [6, 8]}, backward=1),
        step(0, 0.5, backward_count=2),
    ]
    second: list[Record] = [
        backward(1, 0),
        gradients(1, {0: [math.nan, math.inf, -math.inf, 0], 1: [0, 0]}, backward=0),
        backward(1, 1, error="RuntimeError: out of memory"),
        gradients(1, {0: [math.nan, math.nan, math.nan, math.nan]}, backward=1),
        step(1, None, backward_count=2, loss_nonfinite="nan"),
    ]
    calls = [{"graph": -1, "ledger": -1}, {"graph": -1, "ledger": -1}]
    return session_bytes([names + first, second]), {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [
            {"number": 0, "loss": 0.5, "complete": True, "backwards": calls},
            {"number": 1, "loss": "nan", "complete": True, "backwards": calls},
        ],
        "parameters": ["head.weight", "head.bias"],
        "modules": ["model", "head"],
        "gradients": {
            "head.weight": {
                "steps": [0, 1],
                "backward": [1, 1],
                "norm": [4, "nan"],
                "abs_max": [2, "nan"],
                "nan": [0, 4],
                "inf": [0, 0],
                "zero_fraction": [0, 0],
            },
            "head.bias": {"steps": [0, 1], "backward": [1, 0], "norm": [10, 0], "zero_fraction": [0, 1]},
            "tail.bias": {"steps": [0, 1], "norm": [10, 0]},
        },
        "micro_batches": {
            "head.weight": {
                "steps": [0, 0, 1, 1],
                "backward": [0, 1, 0, 1],
                "norm": [2, 4, 0, "nan"],
                "nan": [0, 0, 1, 4],
                "inf": [0, 0, 2, 0],
            },
        },
        "variants": [],
        "notices": [],
    }


def variants() -> tuple[bytes, dict[str, Any]]:
    names: list[Record] = [
        Modules([Module(0, "generator", "", "Net"), Module(1, "generator", "lstm", "LSTM")]),
        Parameters(
            [
                parameter(0, "lstm.weight", [3], root="generator", module=1),
                parameter(1, "weight", [3], root="critic"),
                parameter(2, "latent", [1], root="", is_leaf_tensor=True),
            ]
        ),
        ModuleOutputs([ModuleOutput(0, 1, "[0]", 0), ModuleOutput(1, 1, "[1]", 0), ModuleOutput(2, 1, "[0]", 1)]),
        Notice("not observable", "The inside of generator.lstm is compiled.", step=0),
        graph(0, [Node("AccumulateGrad", parameter=0), Node("SumBackward0", module=1)], [(1, 0, 0, 0)], [1]),
    ]
    other = graph(
        1,
        [Node("AccumulateGrad", parameter=0), Node("AccumulateGrad", parameter=1), Node("DotBackward0")],
        [(2, 0, 0, 0), (2, 1, 1, 0)],
        [2],
    )
    steps: list[list[Record]] = [
        [
            *names,
            backward(0, graph=0),
            gradients(0, {0: [1, 2, 2]}),
            gradients(0, {0: [1], 1: [2], 2: [3]}, "module"),
            step(0),
        ],
        [other, backward(1, graph=1), gradients(1, {0: [2, 4, 4], 1: [0, 3, 4], 2: [7]}), step(1)],
        [backward(2, graph=0), gradients(2, {0: [3, 6, 6]}), step(2)],
    ]
    calls = [[{"graph": number, "ledger": -1}] for number in (0, 1, 0)]
    return session_bytes(steps), {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [{"number": n, "loss": None, "complete": True, "backwards": calls[n]} for n in range(3)],
        "parameters": ["generator.lstm.weight", "critic.weight", "latent"],
        "modules": ["generator", "generator.lstm"],
        "gradients": {
            "generator.lstm.weight": {"steps": [0, 1, 2], "norm": [3, 6, 9]},
            "critic.weight": {"steps": [1], "norm": [5]},
            "latent": {"steps": [1], "norm": [7]},
            "generator.lstm[0]": {"steps": [0], "norm": [1]},
            "generator.lstm[1]": {"steps": [0], "norm": [2]},
            "generator.lstm#2[0]": {"steps": [0], "norm": [3]},
        },
        "graph": {
            "step": 1,
            "nodes": [
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "generator.lstm.weight"},
                {"name": "AccumulateGrad", "module": "", "line": None, "parameter": "critic.weight"},
                {"name": "DotBackward0", "module": "", "line": None, "parameter": None},
            ],
            "edges": [[2, 0, 0, 0], [2, 1, 1, 0]],
            "roots": [2],
        },
        "variants": [[0, [0, 2]], [1, [1]]],
        "notices": ["The inside of generator.lstm is compiled."],
    }


def torn() -> tuple[bytes, dict[str, Any]]:
    """Cut the seed session within the chunk that holds step 1: its backward call is there, its end is not."""
    before = session_bytes([seed_names() + seed_step(0, 1.0, 0.5)], finish=None)
    through_backward = session_bytes([seed_names() + seed_step(0, 1.0, 0.5), seed_step(1, 0.9, 0.45)[:1]], finish=None)
    whole = session_bytes([seed_names() + seed_step(0, 1.0, 0.5), seed_step(1, 0.9, 0.45)], finish=None)
    if not before == whole[: len(before)] != through_backward == whole[: len(through_backward)]:
        raise AssertionError("chunks no longer come in the order of their topics")
    _, expected = seed()
    return whole[: len(through_backward) + 70], {
        **expected,
        "finished": False,
        "finish": None,
        "steps": [
            expected["steps"][0],
            {"number": 1, "loss": None, "complete": False, "backwards": [{"graph": 0, "ledger": 0}]},
        ],
        "gradients": {"w": {"steps": [0], "norm": [10]}, "b": {"steps": [0], "norm": [5]}},
        "histograms": {"w": [{"50": 1}]},
        "optimizer": {"w": {"parameter_norm": [1]}},
        "torn_bytes": 70,
    }


def series_steps() -> list[list[Record]]:
    """Steps 0 to 11 and 20: accumulation, a frozen parameter, late ones, NaN, a number beyond float32, none at all."""
    wide = gradients(5, {0: [5, 0], 1: [1]})
    columns = {**wide.columns, "max": column("<f8", [1e200, 1]), "l2": column("<f8", [1e200, 1])}
    late = {2: [6.0, 8.0], 3: [-1.0], 4: [0.25, 0.0]}
    calls: dict[int, list[Record]] = {
        2: [gradients(2, {0: [1, 1], 1: [9]}), backward(2, 1, held_bytes=300), gradients(2, {0: [2, -2]}, backward=1)],
        4: [gradients(4, {0: [math.nan, 3], 1: [math.inf]})],
        5: [replace(wide, columns=columns)],
        7: [],
        9: [gradients(9, {0: [9, 0], **late, 4: [math.nan, math.nan]})],
    }
    steps: list[list[Record]] = []
    for number in [*range(12), 20]:
        plain: list[Record] = [gradients(number, {0: [number + 0.1, 0], **({1: [2]} if number < 6 else late)})]
        graphs = {"graph": int(number >= 6), "held_bytes": 100 + number}
        loss: dict[str, Any] = {"loss_nonfinite": "-inf"} if number == 4 else {"loss": 1 / (number + 1)}
        end = step(number, interrupted="ValueError: no" if number == 7 else None, **loss)
        steps.append([backward(number, **graphs), *calls.get(number, plain), end])
    return steps


def series_names() -> list[Record]:
    return [
        Modules([Module(0, "model", "", "Net")]),
        Parameters([parameter(0, "a", [2]), parameter(1, "b", [1])]),
        Parameters([parameter(2, "c", [2]), parameter(3, "d", [1]), parameter(4, "e", [2])]),
        graph(0, [Node("AccumulateGrad", parameter=0), Node("SumBackward0")], [(1, 0, 0, 0)], [1]),
        graph(1, [Node("AccumulateGrad", parameter=2), Node("SumBackward0")], [(1, 0, 0, 0)], [1]),
    ]


def series() -> tuple[bytes, dict[str, Any]]:
    """Stretches of four steps, the last one shorter; two parameters a part."""
    steps = series_steps()
    steps[0] = series_names() + steps[0]
    content = session_bytes(steps, series=SeriesWriter(4, narrowest_width=2))
    bad = "nan"
    return content, {
        "finished": True,
        "finish": {"reason": FINISH.reason, "steps": 2, "records_dropped": 0},
        "steps": [
            {
                "number": number,
                "loss": "-inf" if number == 4 else 1 / (number + 1),
                "complete": True,
                "backwards": [
                    {"graph": int(number >= 6), "ledger": -1},
                    *([{"graph": -1, "ledger": -1}] * (number == 2)),
                ],
            }
            for number in [*range(12), 20]
        ],
        "parameters": ["a", "b", "c", "d", "e"],
        "modules": ["model"],
        "gradients": {
            "a": {
                "steps": [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 20],
                "norm": [0.1, 1.1, math.sqrt(8), 3.1, 3, 1e200, 6.1, 8.1, 9, 10.1, 11.1, 20.1],
                "min": [0, 0, -2, 0, 3, 0, 0, 0, 0, 0, 0, 0],
                "backward": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            },
            "b": {"steps": [0, 1, 2, 3, 4, 5], "norm": [2, 2, 9, 2, bad, 1], "inf": [0, 0, 0, 0, 1, 0]},
            "c": {"steps": [6, 8, 9, 10, 11, 20], "norm": [10] * 6},
            "e": {"steps": [6, 8, 9, 10, 11, 20], "max": [0.25, 0.25, bad, 0.25, 0.25, 0.25]},
        },
        "totals": {
            "gradient_norm": {"0": math.hypot(0.1, 2), "2": math.sqrt(8 + 81), "4": 3, "5": 1e200, "7": "nan"},
            "nonfinite": {"0": 0, "4": 2, "7": "nan", "9": 1},
            "held_bytes": {"0": 100, "2": 300, "20": 120},
        },
        "totals_to": 20,
        "variants": [[0, [0, 1, 2, 3, 4, 5]], [1, [6, 7, 8, 9, 10, 11, 20]]],
        "notices": [],
    }


def followed() -> tuple[bytes, dict[str, Any]]:
    """The same recording while it runs: series of the first stretches, the steps behind them on their own."""
    steps = series_steps()
    steps[0] = series_names() + steps[0]
    _, expected = series()
    return session_bytes(steps, finish=None, series=SeriesWriter(4, narrowest_width=2)), {
        **expected,
        "finished": False,
        "finish": None,
        "torn_bytes": 0,
        "totals_to": 7,
    }


SESSIONS = {
    "seed": seed,
    "accumulate": accumulate,
    "variants": variants,
    "torn": torn,
    "series": series,
    "followed": followed,
    "regimes": regimes,
    "findings": findings,
}


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, make in SESSIONS.items():
        content, expected = make()
        (folder / f"{name}.gradwatch").write_bytes(content)
        (folder / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)

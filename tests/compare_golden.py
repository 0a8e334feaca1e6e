"""What `gradwatch diff` says about pairs of small sessions: TypeScript must say the same of the same files.

`python tests/compare_golden.py` writes tests/golden/compare anew: the sessions, and a report for each case.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import gradwatch
from gradwatch.errors import GradwatchError, SessionError
from gradwatch.records import (
    Detail,
    Finish,
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Parameters,
    Record,
    Site,
    Sites,
    SourceFile,
)
from gradwatch.reporters.diff_report import diff_report
from gradwatch.reporters.json import dumps
from gradwatch.session.compare import EXACT, Tolerance, compare
from session_factory import (
    FINISH,
    RUN,
    Node,
    Saved,
    Storage,
    backward,
    gradients,
    graph,
    held,
    ledger,
    parameter,
    session_bytes,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gradwatch.reporters.json import Report

GOLDEN = Path(__file__).parent / "golden"
COMPARE = GOLDEN / "compare"
FLIP_EVERY = 131
"""Bytes between the places where a session is damaged; a prime, so that it meets every kind of place."""

FILE = "/home/someone/project/train.py"
SOURCE = "h = first(x)\nh = torch.tanh(h)\ny = second(h)\nloss = y.square().mean()\nloss.backward()\n"
EDITED = "# edited\n\n" + SOURCE.replace("torch.tanh", "torch.relu")

Values = Sequence[float]


@dataclass(frozen=True)
class Story:
    """A recording of a net of two layers: how it differs from the plain one."""

    steps: range = range(5)
    scale: Callable[[int], float] = lambda _: 1.0
    deeper: bool = False
    source: str = SOURCE
    detail: Detail = "nodes"
    root: str = "model"
    calls: int = 1
    batch: int = 8
    cut_short: bool = False
    noise: float = 0.0
    without: str = ""


def session(story: Story) -> bytes:
    flushes = [tables(story), *(flush(story, number) for number in story.steps)]
    if story.cut_short:
        flushes[-1] = flushes[-1][:2]
    finish = None if story.cut_short else Finish(FINISH.end_ns, FINISH.reason, len(story.steps), 20, 0)
    return session_bytes(flushes, replace(RUN, detail=story.detail), finish)


def names_of(story: Story) -> list[str]:
    layers = ["first", "second", *(["extra"] if story.deeper else [])]
    return [f"{layer}.{name}" for layer in layers for name in ("weight", "bias")]


def tables(story: Story) -> list[Record]:
    names = names_of(story)
    layers = list(dict.fromkeys(name.partition(".")[0] for name in names))
    shift = len(story.source.splitlines()) - len(SOURCE.splitlines())
    modules = [
        Module(0, story.root, "", "Net"),
        *(Module(1 + i, story.root, n, "Linear") for i, n in enumerate(layers)),
    ]
    parameters = [replace(parameter(i, name, (4,), module=1 + i // 2), root=story.root) for i, name in enumerate(names)]
    return [
        SourceFile(FILE, "0" * 64, story.source),
        Sites([Site(line, FILE, 1 + line + shift, "main") for line in range(4)]),
        Modules(modules),
        Parameters(parameters),
        ModuleOutputs([ModuleOutput(i, i + 1, "", 0) for i in range(len(layers))]),
        *([] if story.detail == "parameters" else graph_tables(story)),
    ]


def graph_tables(story: Story) -> list[Record]:
    nodes, edges = nodes_of(story)
    saved = [Saved(4, "self", 0), Saved(5, "result", 1, site=1), Saved(8, "self", 2), Saved(8, "mat", 1)]
    storages = [Storage(16 * story.batch, "input"), Storage(64 * story.batch), Storage(8 * story.batch)]
    return [graph(0, nodes, edges, [len(nodes) - 1]), ledger(0, 0, saved, storages)]


def nodes_of(story: Story) -> tuple[list[Node], list[tuple[int, int, int, int]]]:
    """Leaves and operations in forward order; each edge goes from an operation to what it was made from."""
    nodes = [Node("AccumulateGrad", parameter=0), Node("AccumulateGrad", parameter=1)]
    nodes += [Node("TBackward0", module=1, site=0), Node("ExpandBackward0", module=1, site=0)]
    nodes += [Node("AddmmBackward0", module=1, site=0), Node("TanhBackward0", module=0, site=1)]
    nodes += [Node("AccumulateGrad", parameter=2), Node("AccumulateGrad", parameter=3)]
    nodes += [Node("AddmmBackward0", module=2, site=2)]
    edges = [(2, 0, 0, 0), (3, 0, 1, 0), (4, 0, 3, 0), (4, 1, 2, 0), (5, 0, 4, 0)]
    edges += [(8, 0, 7, 0), (8, 1, 5, 0), (8, 2, 6, 0)]
    if story.deeper:
        nodes += [Node("AccumulateGrad", parameter=4), Node("AccumulateGrad", parameter=5)]
        nodes += [Node("AddmmBackward0", module=3, site=2)]
        edges += [(11, 0, 10, 0), (11, 1, 8, 0), (11, 2, 9, 0)]
    last = len(nodes) - 1
    nodes += [Node("PowBackward0", site=3), Node("MeanBackward0", site=3)]
    return nodes, [*edges, (last + 1, 0, last, 0), (last + 2, 0, last + 1, 0)]


def values(seed: int, number: int, story: Story) -> Values:
    """Numbers that look like a gradient, smaller from step to step."""
    scale = story.scale(number) * math.exp(-0.1 * number) * (1 + story.noise * math.sin(seed))
    return [scale * math.sin(1 + seed + 3 * element) / (1 + element) for element in range(4)]


def flush(story: Story, number: int) -> list[Record]:
    records: list[Record] = []
    nodes, _ = nodes_of(story)
    for call in range(story.calls):
        reached: dict[int, Values] = {
            i: values(i + call, number, story) for i, name in enumerate(names_of(story)) if name != story.without
        }
        size = 72 * story.batch
        if story.detail == "parameters":
            records += [backward(number, call), gradients(number, reached, backward=call)]
            continue
        outputs: dict[int, Values] = {
            i: values(20 + i + call, number, story) for i in reversed(range(2 + story.deeper))
        }
        of_nodes: dict[int, Values] = {
            node: values(40 + node + call, number, story) for node in reversed(range(len(nodes)))
        }
        records += [
            backward(number, call, graph=0, ledger=0, held_bytes=size + call),
            gradients(number, reached, backward=call),
            gradients(number, outputs, "module", backward=call),
            *([gradients(number, of_nodes, "node", backward=call)] if story.detail == "nodes" else []),
            held(number, [(0, size), (100, 0)], [100, 100, 90], backward=call),
        ]
    loss = story.scale(number) * math.exp(-0.2 * number)
    finite = math.isfinite(loss)
    return [
        *records,
        step(number, loss if finite else None, story.calls, loss_nonfinite=None if finite else "nan"),
    ]


def from_step(first: int, factor: float) -> Callable[[int], float]:
    return lambda number: factor if number >= first else 1.0


def long(length: int, odd: int) -> bytes:
    """Many steps of one parameter; at step `odd` another gradient."""
    names: list[Record] = [Parameters([parameter(0, "w", (2,))])]
    steps: list[list[Record]] = [
        [gradients(number, {0: [1.0, 2.5 if number == odd else 2.0]}), step(number, 0.5)] for number in range(length)
    ]
    run = replace(RUN, detail="parameters")
    return session_bytes([names, [record for each in steps for record in each]], run)


STORIES: dict[str, Story] = {
    "plain": Story(),
    "same": Story(),
    "scaled": Story(scale=from_step(2, 1.5)),
    "noise": Story(noise=1e-6),
    "deeper": Story(deeper=True),
    "edited": Story(source=EDITED, batch=32),
    "longer": Story(steps=range(2, 9)),
    "cut": Story(steps=range(4), cut_short=True, scale=from_step(1, 1.01)),
    "nan": Story(scale=from_step(3, math.nan)),
    "infinite": Story(scale=from_step(3, math.inf)),
    "parameters": Story(detail="parameters", scale=from_step(2, 1.5)),
    "modules": Story(detail="modules", scale=from_step(2, 1.5)),
    "renamed": Story(root="student"),
    "twice": Story(calls=2),
    "frozen": Story(without="first.bias"),
}


@dataclass(frozen=True)
class Case:
    """Two sessions of the folder above, or of this one, and how they are compared."""

    a: str
    b: str
    steps: tuple[int, int] | None = None
    tolerance: float | None = None
    ranks: bool = False


CASES: dict[str, Case] = {
    **{f"plain_{name}": Case("plain", name) for name in STORIES if name != "plain"},
    "exactly_same": Case("plain", "same", tolerance=0),
    "exactly_noise": Case("plain", "noise", tolerance=0),
    "loosely_scaled": Case("plain", "scaled", tolerance=0.5),
    "nan_nan": Case("nan", "nan"),
    "nan_infinite": Case("nan", "infinite"),
    "deeper_edited": Case("deeper", "edited"),
    "deeper_plain": Case("deeper", "plain"),
    "twice_deeper": Case("twice", "deeper"),
    "frozen_plain": Case("frozen", "plain"),
    "ranks_parted": Case("plain", "scaled", ranks=True),
    "ranks_without_parameters": Case("../seed", "plain", ranks=True),
    "two_steps": Case("plain", "plain", steps=(1, 3)),
    "step_of_another": Case("plain", "longer", steps=(2, 4)),
    "step_cut_short": Case("plain", "cut", steps=(3, 3)),
    "step_that_is_not_there": Case("plain", "same", steps=(0, 7)),
    "long": Case("long", "long_other"),
    "seed_torn": Case("../seed", "../torn"),
    "seed_accumulate": Case("../seed", "../accumulate"),
    "accumulate_variants": Case("../accumulate", "../variants"),
    "variants_steps": Case("../variants", "../variants", steps=(0, 1)),
}


def sessions() -> dict[str, bytes]:
    """The content of every session, by its file's name."""
    made = {f"{name}.gradwatch": session(story) for name, story in STORIES.items()}
    return {**made, "long.gradwatch": long(1012, -1), "long_other.gradwatch": long(1012, 1008)}


def answer(case: Case) -> dict[str, Any]:
    """What is said of a case, and of which: a report, or the first line of why there is none."""
    asked: dict[str, Any] = {
        "a": case.a,
        "b": case.b,
        "steps": case.steps,
        "tolerance": case.tolerance,
        "ranks": case.ranks,
    }
    try:
        return {**asked, "report": report(case)}
    except GradwatchError as error:
        return {**asked, "error": str(error).partition("\n")[0].replace("../", "")}


def report(case: Case) -> dict[str, Any]:
    """Compare, in the folder of the sessions, so that they go by their names."""
    tolerance = Tolerance() if case.tolerance is None else EXACT if case.tolerance == 0 else Tolerance(case.tolerance)
    with _in_folder(COMPARE):
        a = gradwatch.open(f"{case.a}.gradwatch")
        b = a if case.a == case.b else gradwatch.open(f"{case.b}.gradwatch")
        with a, b:
            made = diff_report(compare(a, b, steps=case.steps, tolerance=tolerance, ranks=case.ranks))
    text = dumps(cast("Report", made))
    return json.loads(text.replace("../", ""))


@contextlib.contextmanager
def _in_folder(folder: Path) -> Generator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def damaged_answers() -> list[Any]:
    """What is said of the scaled session against the plain one with the byte at each place flipped."""
    content = (COMPARE / "scaled.gradwatch").read_bytes()
    places = range(0, len(content), FLIP_EVERY)
    return [_about_damaged(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]) for at in places]


def _about_damaged(content: bytes) -> Any:
    with TemporaryDirectory() as folder, gradwatch.open(COMPARE / "plain.gradwatch") as a:
        path = Path(folder) / "damaged.gradwatch"
        path.write_bytes(content)
        try:
            with gradwatch.open(path) as b:
                made = diff_report(compare(a, b))
        except SessionError as error:
            return type(error).__name__
        except GradwatchError:
            return "nothing"
    parting, loss = made["gradients"], made["loss"]
    first = [parting["step"], parting["first"]["kind"], parting["first"]["name"]] if parting else None
    return [made["parts"], first, loss["step"] if loss else None, *made["compared"].values()]


def golden_answers() -> dict[str, str]:
    """The text of every golden file, by its name."""
    texts = {f"{name}.json": json.dumps(answer(case), ensure_ascii=False) + "\n" for name, case in CASES.items()}
    return {**texts, "damaged.json": json.dumps(damaged_answers()) + "\n"}


if __name__ == "__main__":
    COMPARE.mkdir(exist_ok=True)
    for file, content in sessions().items():
        (COMPARE / file).write_bytes(content)
    for file, text in golden_answers().items():
        (COMPARE / file).write_text(text, encoding="utf-8")
    sys.exit()

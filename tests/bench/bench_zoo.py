"""What gradwatch and torch's own tools say of the same planted bugs, side by side: each program of tests/zoo/bugs.

Every tool runs every program whose question it answers, each in a process of its own, and what it printed, warned or
raised is searched for the line that is marked as the bug. Nothing is timed.

    python tests/bench/bench_zoo.py [--only NAME] [--tools TOOL ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "kernel_ext")]

from zoo.programs import Animal, animals, load, record  # noqa: E402  # found through the path just set

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_VERSION = 1
LIMIT_S = 120

MEMORY = {
    "held",
    "saved unused",
    "saved twice",
    "held long",
    "held by ctx",
    "what if",
    "retained graph",
    "out of memory",
}
ERRORS = {"nan", "inf", "in-place", "second backward"}


@dataclass(frozen=True)
class Verdict:
    """What one tool said of one program; `text` is the message of a crash.

    `said` is "the line", "the other line" (of two), "the op only", "numbers only", "nothing", "crashed", or
    "not its question".
    """

    program: str
    kind: str
    tool: str
    said: str
    text: str = ""


def with_gradwatch(animal: Animal) -> tuple[str, str]:
    """The finding of the kind that was planted: at its line, or elsewhere."""
    import gradwatch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zoo.gradwatch"
        expected: Any = record(animal, path)
        with gradwatch.open(path) as session:
            found = [finding for finding in session.findings if finding.kind == expected.kind]
            places = [session.site(finding.site) for finding in found if finding.site >= 0]
            lines = {place.line for place in places if place.file == str(animal.path)}
    if animal.line("# bug") in lines or (found and animal.line("# bug") is None):
        return "the line", ""
    return ("the op only" if found else "nothing"), ""


def with_detect_anomaly(animal: Animal) -> tuple[str, str]:
    """What it warns: the traceback of the forward op whose backward failed, or returned NaN."""
    import torch

    said, error = _output(animal, torch.autograd.detect_anomaly)
    if "Error detected in" not in said and "returned nan values" not in said:
        raises = load(animal).EXPECTED.raises
        return ("nothing", "") if not error or error.startswith(raises or "\0") else ("crashed", error)
    for mark, verdict in (("# bug", "the line"), ("# other", "the other line")):
        line = animal.line(mark)
        if line is not None and f'{animal.path}", line {line},' in said:
            return verdict, ""
    return "the op only", ""


def with_mem_tracker(animal: Animal) -> tuple[str, str]:
    """Its peak by class of tensor: it has no lines, so numbers are the most that it says."""
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.optim.optimizer import register_optimizer_step_post_hook

    tracker: Any = MemTracker()
    # What its documentation asks of a loop: without it, it ends at the second call of a module.
    reset = register_optimizer_step_post_hook(lambda *_: tracker.reset_mod_stats())
    said, error = _output(animal, lambda: tracker)
    reset.remove()
    raises = load(animal).EXPECTED.raises
    if error and not error.startswith(raises or "\0"):
        return "crashed", error
    peak: Any = tracker.get_tracker_snapshot("peak")
    counted = any(size for sizes in peak.values() for size in sizes.values())
    return ("the line" if f"line {animal.line('# bug')}" in said else "numbers only" if counted else "nothing"), ""


TOOLS: dict[str, tuple[Callable[[Animal], tuple[str, str]], set[str] | None]] = {
    "gradwatch": (with_gradwatch, None),
    "detect_anomaly": (with_detect_anomaly, ERRORS),
    "MemTracker": (with_mem_tracker, MEMORY),
}
"""Each tool, and the kinds whose question it answers; None: all."""


def _output(animal: Animal, tool: Callable[[], Any]) -> tuple[str, str]:
    """What is printed, warned and raised while a program trains under a tool, and the error that ended it."""
    module = load(animal)
    out, error = io.StringIO(), ""
    with warnings.catch_warnings(record=True) as warned, redirect_stdout(out), redirect_stderr(out):
        warnings.simplefilter("always")
        try:
            with tool():
                module.train()
        except Exception as raised:  # noqa: BLE001 # of the program, or of the tool
            error = f"{type(raised).__name__}: {str(raised).partition(chr(10))[0]}"
    return "\n".join([out.getvalue(), *(str(each.message) for each in warned), error]), error


def verdict(animal: Animal, tool: str) -> Verdict:
    """Ask one tool in a process of its own."""
    kind = load(animal).EXPECTED.kind
    kinds = TOOLS[tool][1]
    if kinds is not None and kind not in kinds:
        return Verdict(animal.name, kind, tool, "not its question")
    command = [sys.executable, __file__, "--child", tool, animal.name]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return Verdict(animal.name, kind, tool, "crashed", f"no end after {LIMIT_S} s")
    if run.returncode:
        return Verdict(animal.name, kind, tool, "crashed", run.stderr.strip().rpartition("\n")[2])
    said, text = json.loads(run.stdout.splitlines()[-1])
    return Verdict(animal.name, kind, tool, said, text)


def table(verdicts: list[Verdict]) -> str:
    """Lay out a row a program and a column a tool, then each tool's counts."""
    rows = {each.program: each.kind for each in verdicts}
    said = {(each.program, each.tool): each for each in verdicts}
    tools = list(dict.fromkeys(each.tool for each in verdicts))
    lines = [f"{'program':32} {'planted':16} " + " ".join(f"{tool:18}" for tool in tools)]
    for program, kind in rows.items():
        cells = [_cell(said[program, tool]) for tool in tools]
        lines.append(f"{program:32} {kind:16} " + " ".join(f"{cell:18}" for cell in cells).rstrip())
    lines.append("")
    for tool in tools:
        counts = Counter(each.said for each in verdicts if each.tool == tool and each.said != "not its question")
        listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        lines.append(f"{tool}: {counts.total()} programs: {listed}")
    return "\n".join(lines)


def _cell(each: Verdict) -> str:
    return {"not its question": "-"}.get(each.said, each.said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="programs with this in their name")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--json", type=Path, help="also write the verdicts here")
    parser.add_argument("--child", nargs=2, metavar=("TOOL", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        tool, name = options.child
        animal = next(each for each in animals("bugs") if each.name == name)
        print(json.dumps(TOOLS[tool][0](animal)))
        return
    chosen = [animal for animal in animals("bugs") if options.only in animal.name]
    verdicts = [verdict(animal, tool) for animal in chosen for tool in options.tools]
    print(table(verdicts))
    crashes = [f"{each.program}, {each.tool}: {each.text}" for each in verdicts if each.said == "crashed"]
    print("\n".join(crashes))
    if options.json is not None:
        record_of = {"version": JSON_VERSION, "verdicts": [asdict(each) for each in verdicts]}
        options.json.write_text(json.dumps(record_of, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What other tools cost on the programs of bench_recorder.py, and what they say is held for backward, side by side.

Each peer runs on each program in a process of its own. There, blocks of steps with the peer alternate with blocks
without it. A ratio is the median step of a block with it over the mean of its two neighbours without; the first table
gives the median of the ratios and the middle half of them, and beside them what the end of a block takes, for each of
its steps: some peers do much of their work there. A slow peer has fewer rounds. Times are wall-clock.

The second table compares the bytes that a tool says autograd holds after the forward of a tiny program with the bytes
that it holds by the shapes.

Peers that do not come with torch are installed from PyPI, each into a virtual environment of its own under build/peers
that sees the packages of this one: torch is not downloaded again. Run alone on the machine; about half an hour:

    python tests/bench/bench_peers.py [--rounds N] [--only NAME] [--peers NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peers_process import HELD_CASES, HELD_TOOLS, MESSAGE_CHARACTERS, PEERS, SIZES, Cost, Held  # beside this file

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON_VERSION = 1
LIMIT_S = 120
"""For one peer on one program, with the imports."""
INSTALL_LIMIT_S = 900
HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / "build" / "peers"


@dataclass(frozen=True)
class Interpreter:
    """The Python that has a peer; or why there is none."""

    path: Path
    trouble: str = ""


def main() -> None:
    arguments = _arguments()
    chosen = {name: peer for name, peer in PEERS.items() if _is_chosen(name, arguments.peers)}
    tools = {name: tool for name, tool in HELD_TOOLS.items() if _is_chosen(name, arguments.peers)}
    packages = {each.package for each in (*chosen.values(), *tools.values())}
    pythons = {package: interpreter(package) for package in sorted(packages, key=str)}
    sizes = [size.name for size in SIZES if arguments.only in size.name]
    costs = [
        cost(name, size, pythons[peer.package], arguments.rounds) for size in sizes for name, peer in chosen.items()
    ]
    cases = [name for name in HELD_CASES if arguments.only in name]
    readings = [held(name, case, pythons[tool.package]) for case in cases for name, tool in tools.items()]
    print(f"torch {torch.__version__}, {arguments.rounds} rounds")
    print("\n".join(["", *cost_table(costs)] * bool(costs) + ["", *held_table(readings)] * bool(readings)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(_content(arguments.rounds, costs, readings), indent=2) + "\n", "utf-8")


def _is_chosen(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(each.lower() in name.lower() for each in wanted)


def _content(rounds: int, costs: Sequence[Cost], readings: Sequence[Held]) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "torch": str(torch.__version__),
        "rounds": rounds,
        "results": [asdict(each) for each in costs],
        "held": [asdict(each) for each in readings],
    }


# The peers' environments


def interpreter(package: str | None) -> Interpreter:
    """The Python that can import a package of PyPI, and torch as it is here. None: this one."""
    if package is None:
        return Interpreter(Path(sys.executable))
    folder = ENVIRONMENTS / package
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "installed"
    if not done.exists():
        trouble = _install(package, folder, python)
        if trouble:
            return Interpreter(python, f"not installed: {trouble}")
        done.touch()
    return Interpreter(python)


def _install(package: str, folder: Path, python: Path) -> str:
    """Make a virtual environment with a package; the first line of what pip says against it, or nothing."""
    print(f"installing {package}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True, symlinks=os.name != "nt")
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own / "project.pth").write_text(f"{Path(torch.__file__).parents[1]}\n", encoding="utf-8")
    # torch is there already, through the line above: the constraint keeps pip from bringing another.
    constraints = folder / "constraints.txt"
    constraints.write_text(f"torch=={str(torch.__version__).partition('+')[0]}\n", encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints), package]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {INSTALL_LIMIT_S} s"
    return "" if run.returncode == 0 else _first_error(run.stderr)


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["pip said nothing"])[0][:MESSAGE_CHARACTERS]


# The processes


def cost(peer: str, size: str, python: Interpreter, rounds: int) -> Cost:
    """Measure one peer on one program, in a process of its own."""
    answer = _answer(python, ["cost", peer, size, str(rounds)])
    known: dict[str, Any] = {"peer": peer, "size": size, **answer}
    return Cost(**known)


def held(tool: str, program: str, python: Interpreter) -> Held:
    """Ask one tool of the bytes held by one program, in a process of its own."""
    answer = _answer(python, ["held", tool, program, "0"])
    known: dict[str, Any] = {"tool": tool, "program": program, "truth": HELD_CASES[program].truth, **answer}
    return Held(**known)


def _answer(python: Interpreter, arguments: list[str]) -> dict[str, Any]:
    """What the process says, in a folder that is deleted after it."""
    if python.trouble:
        return {"trouble": python.trouble}
    print(" ".join(arguments), file=sys.stderr, flush=True)
    command = [str(python.path), str(HERE / "peers_process.py"), *arguments]
    # What a peer leaves running (wandb's service) may still write while the folder is deleted.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return _run(command, folder)


def _run(command: list[str], folder: str) -> dict[str, Any]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=_environment(folder),
        start_new_session=True,
    )
    try:
        out, error = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        _end(process)
        return {"trouble": f"over {LIMIT_S} s"}
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    last = (error.strip().splitlines() or ["it said nothing"])[-1]
    return {"trouble": f"crashed: status {process.returncode}: {last[:MESSAGE_CHARACTERS]}"}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and what it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def _environment(folder: str) -> dict[str, str]:
    """Keep what peers write in the folder, and off the network."""
    kept = {f"WANDB_{name}": folder for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR")}
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **kept, **offline, "MPLBACKEND": "agg"}


# The tables


def cost_table(costs: Sequence[Cost]) -> list[str]:
    """A line a program and peer."""
    heading = f"{'program':16} {'peer':21} {'version':8} {'step ms':>8} {'ratio':>7}  "
    heading += f"{'middle half':17} {'leave ms':>8} {'rounds':>6}"
    return [heading, *(_cost_line(each) for each in costs)]


def _cost_line(each: Cost) -> str:
    start = f"{each.size:16} {each.peer:21} {each.version:8} "
    if each.step_ms is None or each.leave_ms is None:
        return start + each.trouble
    spread = f"{each.ratio_low:.2f} to {each.ratio_high:.2f}"
    return f"{start}{each.step_ms:8.2f} {each.ratio:7.2f}  {spread:17} {each.leave_ms:8.2f} {each.rounds:6}"


def held_table(readings: Sequence[Held]) -> list[str]:
    """A row a program and a column a tool, in bytes; then the trouble that there was."""
    said = {(each.program, each.tool): each for each in readings}
    truths = {each.program: each.truth for each in readings}
    tools = list(dict.fromkeys(each.tool for each in readings))
    heading = f"{'bytes held':20} {'truth':>8} " + " ".join(f"{tool:>18}" for tool in tools)
    rows = [
        f"{program:20} {truth:8,} " + " ".join(f"{_held_cell(said[program, tool]):>18}" for tool in tools)
        for program, truth in truths.items()
    ]
    exact = [sum(each.said == each.truth for each in readings if each.tool == tool) for tool in tools]
    last = f"{'exact':29} " + " ".join(f"{f'{right} of {len(truths)}':>18}" for right in exact)
    return [
        heading,
        *rows,
        last,
        *(f"{each.program}, {each.tool}: {each.trouble}" for each in readings if each.trouble),
    ]


def _held_cell(each: Held) -> str:
    return "-" if each.said is None else f"{each.said:,}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="blocks with the peer (default: 7)")
    parser.add_argument("--only", default="", metavar="NAME", help="programs with this in their name")
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME", help="peers with one of these in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args()


if __name__ == "__main__":
    main()

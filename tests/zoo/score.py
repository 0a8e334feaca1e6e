"""Runs the programs of the zoo and counts what is found. `python tests/zoo/score.py` writes it into the README."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from zoo.programs import animals, load  # noqa: E402 # it is found where the tests are

README = TESTS.parent / "README.md"
BEGIN, END = "<!-- zoo: written by tests/zoo/score.py -->\n", "<!-- end of zoo -->\n"

_PASSED = re.compile(r"^(?:tests/)?test_zoo\.py::(\w+)\[(\w+)\] (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Score:
    """Programs by the kind of their bug: how many were planted, and how many named. Twins: how many, and silent."""

    planted: Counter[str]
    found: Counter[str]
    twins: int
    silent: int


def measure() -> Score:
    """Run tests/test_zoo.py and count: only what its test accepts, line and fix included, is found."""
    passed = _passed()
    kinds = {animal.name: str(load(animal).EXPECTED.kind) for animal in animals("bugs")}
    found = Counter(kind for name, kind in kinds.items() if name in passed["test_a_planted_bug_is_found_and_named"])
    silent = passed["test_a_healthy_twin_raises_no_alarm"]
    return Score(Counter(kinds.values()), found, len(animals("healthy")), len(silent))


def _passed() -> dict[str, set[str]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "--no-header",
            "-p",
            "no:cacheprovider",
            f"--basetemp={folder}/t",
        ]
        command += [str(TESTS / "test_zoo.py")]
        run = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {}
    for test, name, outcome in _PASSED.findall(run.stdout):
        names = found.setdefault(test, set())
        if outcome == "PASSED":
            names.add(name)
    assert found, run.stdout + run.stderr
    return found


def table(score: Score) -> str:
    """Write a score as Markdown."""
    planted, found = score.planted.total(), score.found.total()
    said = f"{found} of {planted} planted bugs are found, with the line to change; "
    said += f"{score.silent} of {score.twins} healthy twins raise no alarm."
    lines = [
        said,
        "",
        "| planted | programs | found |",
        "|---|---|---|",
    ]
    lines += [f"| {kind} | {count} | {score.found[kind]} |" for kind, count in sorted(score.planted.items())]
    return "\n".join(lines) + "\n"


def with_score(readme: str, score: Score) -> str:
    """Replace the score in the README's text."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    text, count = re.subn(pattern, lambda _: f"{BEGIN}\n{table(score)}\n{END}", readme, flags=re.DOTALL)
    assert count == 1, "the README has one score of the zoo"
    return text


def planted_in(readme: str) -> tuple[Counter[str], int]:
    """What the README says was planted, by kind, and how many twins there are."""
    text = readme.partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| ([a-z -]+) \| (\d+) \| \d+ \|$", text, re.MULTILINE)
    twins = re.search(r"of (\d+) healthy twins", text)
    return Counter({kind: int(count) for kind, count in rows}), int(twins[1]) if twins else 0


if __name__ == "__main__":
    README.write_text(with_score(README.read_text(encoding="utf-8"), measure()), encoding="utf-8")

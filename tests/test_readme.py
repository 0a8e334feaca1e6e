"""The README's first code block runs as it stands, and prints what it says it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import gradwatch
import regimes

README = Path(gradwatch.__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def expected_lines(code: str) -> list[str]:
    """What the comments behind `print(...)` lines say is printed."""
    return [line.split("  # ", 1)[1] for line in code.splitlines() if line.startswith("print(")]


def test_the_quickstart_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    code = blocks("python")[0]
    (tmp_path / "quickstart.py").write_text(code, encoding="utf-8")
    run = subprocess.run([sys.executable, "quickstart.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == expected_lines(code)


def test_every_command_the_readme_names_exists() -> None:
    named = set(re.findall(r"^gradwatch ([a-z]+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    run = subprocess.run([sys.executable, "-m", "gradwatch", "--help"], capture_output=True, text=True, check=True)
    assert named
    assert all(re.search(rf"^\s+{name}\b", run.stdout, re.MULTILINE) for name in named), named


def test_the_list_of_regimes_is_up_to_date() -> None:
    text = README.read_text(encoding="utf-8")
    assert regimes.with_table(text) == text, "README.md is out of date. Run: make contract"


def test_the_table_of_costs_is_that_of_the_bench() -> None:
    script = README.parent / "tests" / "bench" / "cost_table.py"
    run = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"README.md is out of date. Run: python tests/bench/cost_table.py {run.stderr}"


def test_every_promise_stands_on_a_test_that_runs() -> None:
    for each in regimes.all_promises():
        file, _, name = each.test.partition(".")
        test = getattr(sys.modules[file], name)
        marks = {mark.name for mark in getattr(test, "pytestmark", [])}
        assert re.fullmatch(r"test_regime_\w+", file)
        assert name.startswith("test_")
        assert test.__name__ == name, f"another test has the name of {each.test}"
        assert not marks & {"full", "skip", "xfail"}, each.test


def test_a_regime_that_is_partly_seen_says_what_is_missing() -> None:
    views = {each: {each.gradients, each.graph, each.held} for each in regimes.all_promises()}
    assert [each.regime for each, seen in views.items() if seen != {"observed"} and not each.note] == []

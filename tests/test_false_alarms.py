"""No alarm without a fire: healthy training has no error and no warning among its findings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gradwatch
from gradwatch.findings.all import find
from models import PROGRAMS, gpt
from zoo.told import told

if TYPE_CHECKING:
    from gradwatch import Session
    from gradwatch.records import Detail

ROOT = Path(gradwatch.__file__).parents[2]
STEPS = 30
EXAMPLES = ("digits", "accelerate_loop", "lightning_trainer", "transformers_trainer")


def check_silent(session: Session) -> None:
    """Assert that every question was answered, and none with an error or a warning."""
    found = find(session)
    assert found.failed == {}
    assert [notice.text for notice in session.notices if notice.kind == "probe stopped"] == []
    alarms = [finding for finding in found.findings if finding.severity != "note"]
    assert not alarms, "\n".join(told(session, finding) for finding in alarms)


@pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_model_that_trains_well_raises_no_alarm(name: str, detail: Detail, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail):
        losses = [program.step() for _ in range(STEPS)]
    assert losses[-1] < 2 * losses[0], "it trains"
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert len(session.steps) == STEPS
        check_silent(session)


def test_a_model_that_is_found_by_itself_raises_no_alarm(tmp_path: Path) -> None:
    with gradwatch.watch(path=tmp_path / "run.gradwatch"):
        program = gpt()
        for _ in range(STEPS):
            program.step()
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        check_silent(session)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_raises_no_alarm(example: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gradwatch",
        "run",
        "-o",
        "run.gradwatch",
        str(ROOT / "examples" / f"{example}.py"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    with gradwatch.open(tmp_path / "run.gradwatch") as session:
        assert len(session.steps) > 0
        check_silent(session)

"""The committed answers about the golden sessions, and the generated fields of records, are what is said today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden_answers

ROOT = Path(__file__).parents[1]


def test_the_golden_answers_are_what_the_sessions_say() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in golden_answers.ANSWERS.glob("*.json")}
    assert committed == golden_answers.golden_answers(), "run `make contract`"


def test_the_generated_fields_of_records_are_up_to_date() -> None:
    program = "import generate_typescript as g; print(g.recorded_fields(), end='')"
    generated = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "kernel_ext", capture_output=True, text=True, check=True
    )
    committed = ROOT / "vscode-extension" / "shared" / "recorded_fields.ts"
    assert committed.read_text(encoding="utf-8") == generated.stdout, "run `make contract`"

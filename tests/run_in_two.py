"""Runs the whole suite in two processes side by side, each with about half of the work, and prints one after the other.

python tests/run_in_two.py [options of pytest]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIRST = ("nonperturbation", "operators", "ranks", "regime", "zoo")
"""Words in the names of the files that take half of the time."""


def halves() -> tuple[list[str], list[str]]:
    """All files of tests, each in one of the halves."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py"))
    first = [file for file in files if any(word in file for word in FIRST)]
    return first, [file for file in files if file not in first]


def main() -> int:
    command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
    first, second = halves()
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen([*command, *first], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT) as beside:
            own = subprocess.run([*command, *second], cwd=ROOT, check=False).returncode
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
    return own or beside.returncode


if __name__ == "__main__":
    sys.exit(main())

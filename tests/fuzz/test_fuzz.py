"""The mutator is worth its cases, and those that once failed do not fail again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from mutator import mutated  # noqa: E402  # the folder is no package
from questions import ask_everything  # noqa: E402  # as above
from seeds import seeds  # noqa: E402  # as above

from gradwatch import open as open_session  # noqa: E402  # as above
from gradwatch.errors import GradwatchError  # noqa: E402  # as above
from gradwatch.session.unpack import LARGEST_CHUNK_BYTES  # noqa: E402  # as above


def case(number: int) -> bytes:
    random, known = Random(f"1:{number}"), seeds()
    return mutated(random.choice(known), random, known)


def test_the_same_number_gives_the_same_bytes() -> None:
    assert [case(number) for number in range(20)] == [case(number) for number in range(20)]
    assert len({case(number) for number in range(20)}) == 20


def test_changes_reach_the_records_and_leave_most_files_readable(tmp_path: Path) -> None:
    path = tmp_path / "case.gradwatch"
    opened = damaged = 0
    for number in range(100):
        path.write_bytes(case(number))
        try:
            with open_session(path) as session:
                opened += 1
                damaged += any("a record is damaged" in gap.reason for gap in session.reader.verify())
        except GradwatchError:
            continue
    assert opened > 60
    assert damaged > 5


def test_unchanged_sessions_are_answered(tmp_path: Path) -> None:
    good = tmp_path / "good.gradwatch"
    good.write_bytes(seeds()[0])
    for turn, seed in enumerate(seeds()):
        path = tmp_path / "case.gradwatch"
        path.write_bytes(seed)
        ask_everything(path, good, turn)


@pytest.mark.skipif(sys.platform != "linux", reason="a process can be refused memory on Linux only")
def test_a_case_that_takes_more_memory_than_it_may_fails(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from target import MEMORY_BYTES, limits
with limits():
    bytes(MEMORY_BYTES // 2)
    bytes(MEMORY_BYTES + (1 << 20))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr


def test_no_chunk_may_take_all_the_memory_that_a_case_has() -> None:
    from target import MEMORY_BYTES

    assert 2 * LARGEST_CHUNK_BYTES < MEMORY_BYTES

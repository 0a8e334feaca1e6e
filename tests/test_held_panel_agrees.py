"""The panel and `gradwatch.session` give the same held bytes: both are compared with tests/golden/held."""

from __future__ import annotations

import pytest

from held_golden import HELD, SNAPSHOTS, golden_numbers, held_numbers, snapshot_of


def test_the_golden_numbers_are_what_the_session_counts() -> None:
    """`vscode-extension/test/held_golden.test.ts` holds the panel against the same files."""
    written = {path.name: path.read_text(encoding="utf-8") for path in HELD.glob("*.json")}
    assert written == golden_numbers(), "run: python tests/held_golden.py"
    assert written


@pytest.mark.parametrize("name", sorted(path.name for path in HELD.glob("*.json")))
def test_the_groups_of_a_snapshot_sum_to_what_its_backward_call_holds(name: str) -> None:
    snapshot = snapshot_of(SNAPSHOTS / name)
    numbers = None if snapshot is None else held_numbers(snapshot)
    assert snapshot is not None
    assert snapshot.backward is not None
    assert numbers is not None
    assert {key: sum(size for _, size in groups) for key, groups in numbers["by"].items()} == dict.fromkeys(
        numbers["by"], numbers["total"]
    )
    assert numbers["total"] == snapshot.backward.held_bytes
    assert list(numbers["classes"].values()) == snapshot.backward.class_bytes

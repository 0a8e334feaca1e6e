"""The conditions that an editor hands to `gradwatch replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradwatch import replay
from gradwatch.cli import main
from gradwatch.records import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ["replay", "run.gradwatch", "--step", "2", "--entry", "train:build"]


def test_conditions_of_the_command_line_reach_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[Condition]] = []

    def stand_in(*_: object, conditions: Sequence[Condition], **__: Any) -> replay.ReplayResult:
        seen.append(conditions)
        raise LookupError("far enough")

    monkeypatch.setattr(replay, "replay", stand_in)
    assert main([*WORDS, "--conditions", '[{"id": 1, "kind": "norm exceeds", "limit": 1e3, "later": 0}]']) == 2
    assert main(WORDS) == 2
    assert seen == [[Condition(id=1, kind="norm exceeds", limit=1e3)], []]


@pytest.mark.parametrize(
    ("given", "said"), [("nonsense", "is no JSON"), ("{}", "must be a JSON list"), ('[{"id": 1}]', "kind")]
)
def test_conditions_that_are_none_are_refused_in_words(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--conditions", given]) == 2
    assert said in capsys.readouterr().err

"""The README's score of the zoo is of the programs that are there, and says what their tests say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from zoo import score
from zoo.programs import animals, load

README = Path(score.README).read_text(encoding="utf-8")


def test_the_score_is_of_the_programs_that_are_there() -> None:
    planted, twins = score.planted_in(README)
    there = Counter(str(load(animal).EXPECTED.kind) for animal in animals("bugs"))
    assert planted == there, "README.md is out of date. Run: python tests/zoo/score.py"
    assert twins == len(animals("healthy")), "README.md is out of date. Run: python tests/zoo/score.py"


def test_a_score_is_written_between_its_marks_and_read_back() -> None:
    made = score.Score(Counter({"nan": 3, "in-place": 2}), Counter({"nan": 3, "in-place": 1}), 5, 4)
    text = score.with_score(f"before\n{score.BEGIN}old\n{score.END}after\n", made)
    assert "4 of 5 planted bugs are found, with the line to change; 4 of 5 healthy twins raise no alarm." in text
    assert "| in-place | 2 | 1 |\n| nan | 3 | 3 |\n" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert score.planted_in(text) == (made.planted, 5)
    assert score.with_score(text, made) == text


@pytest.mark.full
def test_the_score_is_what_the_programs_reach() -> None:
    assert score.with_score(README, score.measure()) == README, (
        "README.md is out of date. Run: python tests/zoo/score.py"
    )

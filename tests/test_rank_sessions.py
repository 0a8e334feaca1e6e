"""The sessions of all ranks read side by side, and `gradwatch show FOLDER`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, get_type_hints

import numpy as np
import pytest

import gradwatch
import session_factory as make
from gradwatch import cli
from gradwatch.errors import UsageError
from gradwatch.records import Parameters
from gradwatch.reporters import show_ranks
from gradwatch.session.rank_sessions import RankSessions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradwatch.records import Record

Values = list[float]


def write_rank(folder: Path, rank: int, gradients: Sequence[Values | None], own: Sequence[Values] = ()) -> None:
    """Write a step for each of `gradients`, of one parameter `w`; `own` are the same before reduction."""
    names: list[Record] = [Parameters([make.parameter(0, "w", (2,))])]
    steps: list[list[Record]] = []
    for number, values in enumerate(gradients):
        there: list[Record] = [] if values is None else [make.gradients(number, {0: values})]
        there += [make.gradients(number, {0: own[number]}, "local")] if own else []
        steps.append([make.backward(number, held_bytes=100 * (rank + 1)), *there, make.step(number, 0.5 + rank)])
    folder.mkdir(exist_ok=True)
    run = replace(make.RUN, rank=rank, world_size=3, detail="parameters")
    make.write_session(folder / f"run.rank{rank}.gradwatch", [names, *steps], run)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three ranks, of which 2 has a step more and 1 had a NaN of its own at step 1."""
    folder = tmp_path / "runs"
    shared: list[Values | None] = [[3.0, 4.0], [math.nan, 1.0]]
    write_rank(folder, 0, shared, [[1.0, 0.0], [1.0, 0.0]])
    write_rank(folder, 1, shared, [[0.0, 2.0], [math.nan, 1.0]])
    write_rank(folder, 2, [*shared, [1.0, 1.0]], [[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    return folder


def test_opening_a_folder_gives_the_sessions_by_rank(runs: Path) -> None:
    with gradwatch.open(runs, ranks=True) as ranks:
        assert isinstance(ranks, RankSessions)
        assert (ranks.ranks, len(ranks)) == ([0, 1, 2], 3)
        assert [session.run.rank for session in ranks] == [0, 1, 2]
        assert ranks[2].path.name == "run.rank2.gradwatch"
        assert ranks.steps.tolist() == [0, 1]
        with pytest.raises(UsageError, match=r"no session of rank 7\. It has: 0, 1, 2\."):
            ranks[7]


def test_a_gradient_is_an_array_of_ranks_by_steps(runs: Path) -> None:
    with RankSessions(runs) as ranks:
        assert ranks.gradient("w").shape == (3, 2)
        assert ranks.gradient("w")[:, 0].tolist() == [5.0, 5.0, 5.0]
        np.testing.assert_allclose(ranks.gradient("w", local=True)[:, 0], [1.0, 2.0, 2.0])
        with pytest.raises(UsageError, match=r"no parameter .* There is w\."):
            ranks.gradient("nothing")


def test_a_rank_without_the_parameter_or_the_step_has_nan(tmp_path: Path) -> None:
    write_rank(tmp_path, 0, [[3.0, 4.0], None, [1.0, 0.0]])
    write_rank(tmp_path, 1, [[3.0, 4.0], [1.0, 0.0], [1.0, 0.0]])
    run = replace(make.RUN, rank=2, world_size=3)
    records: list[list[Record]] = [
        [Parameters([make.parameter(0, "other", (2,))])],
        *([make.backward(n), make.gradients(n, {0: [1.0, 1.0]}), make.step(n)] for n in range(3)),
    ]
    make.write_session(tmp_path / "run.rank2.gradwatch", records, run)
    with RankSessions(tmp_path) as ranks:
        found = ranks.gradient("w")
        assert np.isnan(found).tolist() == [[False, True, False], [False] * 3, [True] * 3]
        assert found[0].tolist()[::2] == [5.0, 1.0]


def test_ranks_that_part_are_those_whose_own_gradients_broke_and_those_that_stray(runs: Path) -> None:
    with RankSessions(runs) as ranks:
        assert ranks.ranks_that_part() == [1], "its NaN came first"
    write_rank(runs, 2, [[3.0, 4.5], [math.nan, 1.0]], [[2.0, 0.0], [1.0, 0.0]])
    with RankSessions(runs) as ranks:
        assert ranks.ranks_that_part() == [1, 2]


def test_what_is_held_is_told_by_rank(runs: Path) -> None:
    with RankSessions(runs) as ranks:
        assert {rank: view.backward.held_bytes for rank, view in ranks.held(1).items()} == {0: 100, 1: 200, 2: 300}
        with pytest.raises(UsageError):
            ranks.held(2)


def test_a_file_that_cannot_be_opened_is_told_and_the_others_read(runs: Path) -> None:
    (runs / "torn.gradwatch").write_bytes(b"")
    with RankSessions(runs) as ranks:
        assert len(ranks) == 3
        assert [each.path.name for each in ranks.unreadable] == ["torn.gradwatch"]


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no session file"):
        gradwatch.open(tmp_path)


def test_show_of_a_folder_has_a_row_a_rank_and_names_those_that_part(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["show", str(runs)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 ranks; 1 is unlike the others.\n")
    assert "2 steps in common" in out
    rows = [line.split() for line in out.splitlines() if "run.rank" in line]
    assert rows == [
        ["0", "run.rank0.gradwatch", "2", "0.500", "NaN", "100", "B"],
        ["1", "run.rank1.gradwatch", "2", "1.50", "NaN", "200", "B", "parts"],
        ["2", "run.rank2.gradwatch", "3", "2.50", "1.41e0", "300", "B"],
    ]


def test_show_of_a_folder_as_json_has_the_documented_shape(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", str(runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == get_type_hints(show_ranks.ShowRanksReport).keys()
    assert all(row.keys() == get_type_hints(show_ranks.ShownRank).keys() for row in found["ranks"])
    assert [row["parts"] for row in found["ranks"]] == [False, True, False]
    assert cli.main(["show", str(runs), "--step", "1"]) == 2
    assert "--step is of one session" in capsys.readouterr().err


def test_ranks_that_cannot_be_compared_are_shown_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rank(tmp_path, 0, [[3.0, 4.0]])
    write_rank(tmp_path, 1, [])
    assert cli.main(["show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 ranks.\n")
    assert "The ranks were not compared: " in out

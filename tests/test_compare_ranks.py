"""Folders of rank files: which rank is which, what is compared, and what the command says and ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import torch.distributed

import session_factory as make
from gradwatch import cli
from gradwatch.errors import NotASession, UsageError
from gradwatch.records import Parameters
from gradwatch.reporters import diff_json
from gradwatch.session.ranks import rank_files
from gradwatch.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.records import Record


def write_rank(path: Path, rank: int, second: Sequence[float] = (3.0, 4.0), loss: float = 0.5, first: int = 0) -> None:
    """Write two steps of one parameter, of which `second` is the gradient in the second step."""
    names: list[Record] = [Parameters([make.parameter(0, "w", (2,))])]
    steps: list[list[Record]] = [
        [make.backward(number), make.gradients(number, {0: values}), make.step(number, loss)]
        for number, values in enumerate([(1.0, 2.0), second], start=first)
    ]
    path.parent.mkdir(exist_ok=True)
    run = replace(make.RUN, rank=rank, world_size=4, detail="parameters")
    make.write_session(path, [names, *steps], run)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> dict[str, Any]:
    assert cli.main(["diff", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def write_run(folder: str, **others: Any) -> None:
    for rank in range(3):
        write_rank(Path(folder) / f"run.rank{rank}.gradwatch", rank, **others)


def test_ranks_are_told_by_what_the_files_say_and_not_by_their_names(tmp_path: Path) -> None:
    for name, rank in (("a", 10), ("b", 2), ("c", 0)):
        write_rank(tmp_path / f"{name}.gradwatch", rank)
    found = rank_files(tmp_path)
    assert {rank: path.name for rank, path in found.paths.items()} == {
        0: "c.gradwatch",
        2: "b.gradwatch",
        10: "a.gradwatch",
    }
    assert list(found.paths) == [0, 2, 10]


def test_a_file_that_cannot_be_opened_is_told_and_the_others_are_found(tmp_path: Path) -> None:
    write_rank(tmp_path / "0.gradwatch", 0)
    (tmp_path / "1.gradwatch").write_bytes(b"nothing")
    found = rank_files(tmp_path)
    assert list(found.paths) == [0]
    assert [(each.path.name, "is not a gradwatch session" in each.reason) for each in found.unreadable] == [
        ("1.gradwatch", True)
    ]


def test_replays_of_steps_that_lie_beside_a_session_are_no_ranks(tmp_path: Path) -> None:
    write_rank(tmp_path / "run.rank0.gradwatch", 0)
    write_rank(tmp_path / "run.rank0.replay-1.gradwatch", 0)
    assert [path.name for path in rank_files(tmp_path).paths.values()] == ["run.rank0.gradwatch"]


def test_two_recordings_of_one_rank_are_refused_by_name(tmp_path: Path) -> None:
    write_rank(tmp_path / "new.gradwatch", 0)
    write_rank(tmp_path / "old.gradwatch", 0)
    with pytest.raises(UsageError, match=r"more than one recording of rank 0: new\.gradwatch and old\.gradwatch"):
        rank_files(tmp_path)


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no session file"):
        rank_files(tmp_path)
    (tmp_path / "0.gradwatch").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no session that can be opened\. .*empty"):
        rank_files(tmp_path)


def test_where_one_session_is_asked_of_a_folder_it_names_those_in_it_and_the_way_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_run("runs")
    with pytest.raises(NotASession, match=r"run\.rank0\.gradwatch, run\.rank1\.gradwatch.*gradwatch diff runs"):
        Session("runs")
    assert cli.main(["held", "runs"]) == 2
    assert "Name one of them, or compare its ranks: gradwatch diff runs" in capsys.readouterr().err


def test_ranks_that_agree_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    assert cli.main(["diff", "runs"]) == 0
    out = capsys.readouterr().out
    assert "No difference is seen" in out
    assert "run.rank2.gradwatch" in out


def test_losses_of_ranks_differ_with_their_data_and_do_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    write_rank(Path("runs/run.rank2.gradwatch"), 2, loss=0.75)
    found = report(capsys, "runs", code=0)
    assert [(row["rank"], row["rank_b"], row["parts"]) for row in found["ranks"]] == [(0, 1, False), (0, 2, False)]


def test_the_rank_that_parts_first_is_told_with_its_whole_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    write_rank(Path("runs/run.rank2.gradwatch"), 2, second=(3.0, 4.5))
    found = report(capsys, "runs", code=1)
    assert [(row["rank_b"], row["step"]) for row in found["ranks"]] == [(1, None), (2, 1)]
    assert found["ranks"][1]["gradients"]["name"] == "w"
    assert found["first"]["b"]["rank"] == 2
    assert cli.main(["diff", "runs"]) == 1
    assert "1 of 2 ranks parts: rank 2 first, at step 1." in capsys.readouterr().out
    assert found["first"]["notes"][0].startswith("Different ranks see different data")


def test_two_files_of_different_ranks_are_compared_as_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    write_rank(Path("runs/run.rank1.gradwatch"), 1, loss=0.75)
    files = ["runs/run.rank0.gradwatch", "runs/run.rank1.gradwatch"]
    assert report(capsys, *files, code=0)["notes"][0].startswith("Different ranks see different data")
    write_rank(Path("runs/run.rank1.gradwatch"), 0, loss=0.75)
    assert report(capsys, *files, code=1)["loss"]["step"] == 0, "of one rank losses count"


def test_folders_are_compared_rank_by_rank_and_losses_count(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("a")
    write_run("b")
    assert report(capsys, "a", "b", code=0)["complete"] is True
    write_rank(Path("b/run.rank1.gradwatch"), 1, loss=0.75)
    found = report(capsys, "a", "b", code=1)
    assert [(row["rank"], row["rank_b"], row["step"]) for row in found["ranks"]] == [
        (0, 0, None),
        (1, 1, 0),
        (2, 2, None),
    ]
    assert found["first"]["loss"]["b"] == 0.75
    assert (found["a"], found["b"]) == ("a", "b")


def test_ranks_of_one_folder_alone_are_told_and_do_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("a")
    write_run("b")
    write_rank(Path("b/run.rank3.gradwatch"), 3)
    found = report(capsys, "a", "b", code=0)
    assert (found["only_a"], found["only_b"]) == ([], [3])
    assert cli.main(["diff", "a", "b"]) == 0
    assert "Rank 3 in b alone." in capsys.readouterr().out


def test_what_could_not_be_compared_is_no_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    Path("runs/run.rank1.gradwatch").write_bytes(b"nothing")
    found = report(capsys, "runs", code=2)
    assert (found["parts"], found["complete"]) == (False, False)
    assert [each["path"] for each in found["unreadable"]] == [str(Path("runs/run.rank1.gradwatch"))]
    assert cli.main(["diff", "runs"]) == 2
    assert "Not every rank could be compared. No difference is seen" in capsys.readouterr().out


def test_a_pair_without_a_step_in_common_says_so_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    write_rank(Path("runs/run.rank2.gradwatch"), 2, first=7)
    found = report(capsys, "runs", code=2)
    assert "no whole step in common" in found["ranks"][1]["error"]
    assert cli.main(["diff", "runs"]) == 2
    assert "not compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "runs/run.rank0.gradwatch"], "are a file and a folder"),
        (["alone"], "holds no other rank"),
        (["alone", "other"], "have no rank in common: 0 against 1"),
    ],
)
def test_what_cannot_be_paired_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    write_run("runs")
    write_rank(Path("alone/run.gradwatch"), 0)
    write_rank(Path("other/run.gradwatch"), 1)
    assert cli.main(["diff", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_report_has_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("runs")
    write_rank(Path("runs/run.rank2.gradwatch"), 2, second=(3.0, 4.5))
    found = report(capsys, "runs", code=1)
    assert found.keys() == get_type_hints(diff_json.RanksReport).keys()
    for row in found["ranks"]:
        assert row.keys() == get_type_hints(diff_json.RankRow).keys()


PROGRAM = """
import os, sys
import torch
from torch import distributed, nn

rank = int(os.environ["RANK"])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=2)
torch.manual_seed(0)
net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
data = torch.Generator().manual_seed(rank)
for step in range(3):
    (net(torch.randn(5, 4, generator=data)) ** 2).mean().backward()
    if step == 1 and rank == 1 and len(sys.argv) > 2:
        with torch.no_grad():
            net.module[2].weight.mul_(1.01)
    optimizer.step()
    optimizer.zero_grad()
"""


def train_in_two_processes(folder: Path, *arguments: str) -> None:
    (folder.parent / "train.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "gradwatch", "run", "--detail", "nodes", "-o", str(folder / "run.gradwatch")]
    command += ["train.py", str(folder / "meeting"), *arguments]
    folder.mkdir()
    processes = [
        subprocess.Popen(command, env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}) for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_ranks_that_really_train_together_agree_and_the_one_that_strays_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_in_two_processes(tmp_path / "good")
    train_in_two_processes(tmp_path / "bad", "stray")
    names = sorted(path.name for path in (tmp_path / "good").glob("*.gradwatch"))
    assert names == ["run.rank0.gradwatch", "run.rank1.gradwatch"]
    assert report(capsys, "good", code=0)["ranks"][0]["compared"]["parameter"] == 3 * 4
    found = report(capsys, "good", "bad", code=1)
    assert [row["step"] for row in found["ranks"]] == [2, 2], "averaging hands it on"
    assert found["first"]["b"]["rank"] == 1, "its own nodes part"
    assert found["first"]["gradients"]["first"]["kind"] == "node"

"""`gradwatch diff`: what it prints, for people and as JSON, and its exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

import session_factory as make
from gradwatch import cli
from gradwatch.records import Parameters, Site, Sites, SourceFile
from gradwatch.reporters import diff_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.records import Record

GOLDEN = Path(__file__).parent / "golden"
SOURCE = "y = model(x)\nloss = y.sum()\nloss.backward()\n"


def flushes(second: Sequence[float], *, storage: int = 64, line: int = 2, finished: bool = True) -> list[list[Record]]:
    """Two steps of one parameter; `second` is its gradient in step 1; a node saves `storage` bytes at `line`."""
    nodes = [make.Node("AccumulateGrad", parameter=0), make.Node("MulBackward0", site=0), make.Node("SumBackward0")]
    graph = make.graph(0, nodes, [(2, 0, 1, 0), (1, 0, 0, 0)], [2])
    ledger = make.ledger(0, 0, [make.Saved(1, "self", 0)], [make.Storage(storage)])
    tables: list[Record] = [
        Parameters([make.parameter(0, "w", (2,))]),
        Sites([Site(0, "/home/someone/project/train.py", line, "main")]),
        SourceFile("/home/someone/project/train.py", "", "\n" * (line - 2) + SOURCE),
        graph,
        ledger,
    ]
    steps: list[list[Record]] = [
        [
            make.backward(number, graph=0, ledger=0, held_bytes=storage),
            make.gradients(number, {0: values}),
            make.gradients(number, {0: values, 1: values, 2: [1.0]}, "node"),
            make.held(number, [(0, storage)], [10]),
            make.step(number, 0.5),
        ]
        for number, values in enumerate([[1.0, 2.0], second])
    ]
    return [tables, *steps] if finished else [tables, steps[0], steps[1][:2]]


@pytest.fixture(autouse=True)
def _in_a_folder_with_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make.write_session(tmp_path / "a.gradwatch", flushes([3.0, 4.0]))
    make.write_session(tmp_path / "same.gradwatch", flushes([3.0, 4.0]))
    make.write_session(tmp_path / "other.gradwatch", flushes([3.0, 4.5], storage=1 << 20, line=5))
    make.write_session(tmp_path / "open.gradwatch", flushes([3.0, 4.5], finished=False), finish=None)


def report(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> dict[str, Any]:
    assert cli.main(["diff", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_sessions_that_show_no_difference_end_with_0_and_say_what_that_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["diff", "a.gradwatch", "same.gradwatch", "--exact"]) == 0
    out = capsys.readouterr().out
    assert "No difference is seen in the statistics of gradients; values may still differ." in out
    assert "compared: 2 steps, 2 parameter rows, 0 module output rows, 6 node rows; exactly" in out


def test_sessions_that_part_end_with_1_and_name_step_node_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "a.gradwatch", "other.gradwatch"]) == 1
    out = capsys.readouterr().out
    assert "Gradients part at step 1." in out
    assert "MulBackward0 #1  the first node that backward reaches at step 1" in out
    assert "at  train.py:2  loss = y.sum()" in out
    assert "given by  SumBackward0 #2" in out
    assert "itself given the same, as far as statistics tell" in out


def test_a_line_that_moved_is_one_row_of_held_memory(capsys: pytest.CaptureFixture[str]) -> None:
    held = report(capsys, "a.gradwatch", "other.gradwatch", code=1)["held"]
    (row,) = held["by_line"]
    assert (row["label_a"], row["label_b"], row["text"]) == ("train.py:2", "train.py:5", "loss = y.sum()")
    assert (row["bytes_a"], row["bytes_b"], row["delta"]) == (64, 1 << 20, (1 << 20) - 64)
    cli.main(["diff", "a.gradwatch", "other.gradwatch"])
    assert "train.py:2 | train.py:5" in capsys.readouterr().out


def test_held_memory_alone_does_not_part(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    make.write_session(tmp_path / "more.gradwatch", flushes([3.0, 4.0], storage=1 << 20))
    assert report(capsys, "a.gradwatch", "more.gradwatch", code=0)["held"]["total_b"] == 1 << 20


def test_the_json_has_the_shape_it_documents(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "a.gradwatch", "other.gradwatch", code=1)
    assert set(found) == set(get_type_hints(diff_json.DiffReport))
    assert (found["format"], found["version"], found["command"]) == ("gradwatch.report", 1, "diff")
    gradients = found["gradients"]
    assert set(gradients) == set(get_type_hints(diff_json.GradientPartingRow))
    assert set(gradients["first"]) == set(get_type_hints(diff_json.PartingRow))
    assert set(gradients["first"]["node"]) == set(get_type_hints(diff_json.NodePartingRow))
    assert (gradients["step"], gradients["first"]["name"]) == (1, "MulBackward0")
    assert [row["name"] for row in gradients["parameters"]] == ["w"]
    assert found["curves"]["difference"][0] == 0 < found["curves"]["difference"][1]
    assert found["tolerance"] == {"rtol": 1e-4, "atol": 1e-8}


@pytest.mark.parametrize(
    ("options", "code"), [(["--rtol", "0.5"], 0), (["--atol", "1"], 0), (["--step", "0"], 0), (["--step", "1"], 1)]
)
def test_tolerance_and_step_decide_the_exit_code(options: list[str], code: int) -> None:
    assert cli.main(["diff", "a.gradwatch", "other.gradwatch", *options]) == code


def test_two_steps_of_one_session_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "a.gradwatch", "--step", "0:1"]) == 1
    assert "Gradients part at step 0 against 1." in capsys.readouterr().out
    assert cli.main(["diff", "a.gradwatch", "same.gradwatch", "--step", "1:1"]) == 0


def test_an_unfinished_session_is_compared_up_to_its_last_whole_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "a.gradwatch", "open.gradwatch"]) == 0
    out = capsys.readouterr().out
    assert "not closed" in out
    assert "step 1, in a alone" in out
    assert "Step 1 of open.gradwatch was cut short and is left out." in out


def test_a_torn_file_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(GOLDEN / "torn.gradwatch", "torn.gradwatch")
    shutil.copy(GOLDEN / "torn.gradwatch", "twin.gradwatch")
    assert report(capsys, "torn.gradwatch", "twin.gradwatch", code=0)["compared"]["steps"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.gradwatch"], "There is nothing to compare a.gradwatch with.\nName another session"),
        (["a.gradwatch", "--step", "1"], "There is nothing to compare a.gradwatch with."),
        (["a.gradwatch", "gone.gradwatch"], "There is no file gone.gradwatch."),
        (["a.gradwatch", "same.gradwatch", "--step", "9"], "There is no step 9 in this session."),
        (["a.gradwatch", "same.gradwatch", "--step", "1:x"], "--step 1:x is no step."),
        (["a.gradwatch", "same.gradwatch", "--rtol", "-1"], "--rtol -1.0 is no tolerance"),
        (["a.gradwatch", "same.gradwatch", "--atol", "nan"], "--atol nan is no tolerance"),
        (["a.gradwatch", "same.gradwatch", "--exact", "--rtol", "1"], "--exact leaves no tolerance"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["diff", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"gradwatch: {said}")


def test_comparing_needs_no_torch() -> None:
    code = (
        "import sys; from gradwatch.cli import main; main(sys.argv[1:]);"
        "sys.exit(str({'torch'} & set(sys.modules) or '') or 0)"
    )
    command = [sys.executable, "-c", code, "diff", "a.gradwatch", "other.gradwatch"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.returncode) == ("", 0)

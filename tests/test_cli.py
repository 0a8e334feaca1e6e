"""The command line: every command on real files, every error in one clear sentence with exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradwatch import cli
from gradwatch import open as gradwatch_open
from gradwatch._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
REPORTS = ("show", "gradients", "held", "graph")


@pytest.fixture(autouse=True)
def _in_an_empty_folder_with_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", tmp_path / "run.gradwatch")
    monkeypatch.chdir(tmp_path)


def gradwatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gradwatch", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)


# What works


@pytest.mark.parametrize("command", REPORTS)
@pytest.mark.parametrize("step", [[], ["--step", "0"]])
def test_a_report_is_printed_for_people_and_as_json(
    command: str, step: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "run.gradwatch", *step]) == 0
    assert f"at step {step[1] if step else 1}" in capsys.readouterr().out
    assert cli.main([command, "run.gradwatch", *step, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["version"], report["command"]) == ("gradwatch.report", 1, command)
    assert report["session"]["path"] == "run.gradwatch"


def test_why_answers_for_a_name_and_for_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    with gradwatch_open("run.gradwatch") as session:
        name = session.parameters[0].name
    assert cli.main(["why", "run.gradwatch", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(name)
    assert "norm" in out
    assert cli.main(["why", "run.gradwatch", name, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["command"], report["name"], report["step"]) == ("why", name, None)
    assert all(name in row["parameters"] for row in report["findings"] if row["kind"] == "reached")
    assert report["findings"]
    assert cli.main(["why", "run.gradwatch"]) == 0
    assert capsys.readouterr().out.startswith("This session")


def test_why_of_a_wrong_name_ends_with_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["why", "run.gradwatch", "no.such.weight"]) == 2
    assert "There is no parameter or module 'no.such.weight'" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["module", "line", "op", "node", "dtype", "class", "role", "device"])
def test_held_memory_can_be_split_by(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["held", "run.gradwatch", "--by", key, "--json"]) == 0
    (split,) = json.loads(capsys.readouterr().out)["held"]["by"]
    assert split["key"] == key
    assert sum(row["bytes"] for row in split["rows"]) == (12 if key == "class" else 8)


@pytest.mark.parametrize("kind", ["parameter", "module", "node"])
def test_gradients_can_be_asked_for_of(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gradients", "run.gradwatch", "--kind", kind, "--sort", "norm"]) == 0
    assert "9.00e0" in capsys.readouterr().out.replace("4.50e0", "9.00e0")


def test_repair_closes_a_torn_session_once(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(GOLDEN / "torn.gradwatch", "torn.gradwatch")
    assert cli.main(["repair", "torn.gradwatch"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("torn.gradwatch is repaired: ")
    assert "70 bytes of a torn end were dropped" in first
    assert cli.main(["repair", "torn.gradwatch"]) == 0
    assert capsys.readouterr().out == "torn.gradwatch is whole; there was nothing to repair.\n"
    assert cli.main(["show", "torn.gradwatch"]) == 0


def test_version_and_help_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gradwatch {__version__}\n"
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        name = command.__name__.lower()
        assert name in text
        assert cli.main([name, "--help"]) == 0
        assert (command.__doc__ or "").splitlines()[0] in capsys.readouterr().out


@pytest.mark.parametrize("command", [*REPORTS, "repair"])
def test_reading_needs_no_torch_and_no_ipython(command: str) -> None:
    code = (
        "import sys; from gradwatch.cli import main; code = main(sys.argv[1:]);"
        "loaded = {'torch', 'IPython', 'sklearn'} & set(sys.modules); sys.exit(code or str(loaded or '') or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, command, "run.gradwatch"], capture_output=True, text=True, check=False
    )
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_starting_a_program_loads_nothing_that_reports_need() -> None:
    code = (
        "import sys, gradwatch.cli; sys.exit(str({'numpy', 'rich', 'msgspec', 'mcap'} & set(sys.modules) or '') or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m gradwatch graph run.gradwatch --json | true"
    ended = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.returncode in (0, cli.BROKEN_PIPE)


# What does not


def a_text_file(path: Path) -> None:
    path.write_text("import torch\n")


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_session_cut_in_its_head(path: Path) -> None:
    path.write_bytes((GOLDEN / "seed.gradwatch").read_bytes()[:40])


def a_session_from_the_future(path: Path) -> None:
    content = (GOLDEN / "seed.gradwatch").read_bytes()
    later = content.replace(b"format_version\x01\x00\x00\x001", b"format_version\x01\x00\x00\x009")
    assert later != content
    path.write_bytes(later)


FILES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "missing": (lambda _: None, "There is no file bad.gradwatch.", "gradwatch run -o bad.gradwatch"),
    "text": (a_text_file, "bad.gradwatch is not a gradwatch session: ", "gradwatch run"),
    "empty": (an_empty_file, "bad.gradwatch", "gradwatch"),
    "folder": (a_folder, "bad.gradwatch", "gradwatch"),
    "cut in its head": (a_session_cut_in_its_head, "bad.gradwatch", "gradwatch"),
    "future": (
        a_session_from_the_future,
        "(format 9); this is",
        "pip install -U gradwatch",
    ),
}


@pytest.mark.parametrize("command", [*REPORTS, "repair"])
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_session_is_told_in_words(
    what: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, told, way_out = FILES[what]
    make(Path("bad.gradwatch"))
    assert cli.main([command, "bad.gradwatch"]) == 2
    assert_one_sentence(capsys, told, way_out)


def test_a_corrupted_chunk_is_told_or_stepped_over_never_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(Path("run.gradwatch").read_bytes())
    told = 0
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        Path("bad.gradwatch").write_bytes(damaged)
        for command in REPORTS:
            code = cli.main([command, "bad.gradwatch"])
            out, err = capsys.readouterr()
            assert code in (0, 2), position
            assert (err == "") == (code == 0), position
            assert "Traceback" not in err, position
            told += code == 2 or "could not be read" in out
    assert told, "no damage was noticed at all"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "run.gradwatch", "--step", "99"], "There is no step 99 in this session. It has steps 0 to 1."),
        (["held", "run.gradwatch", "--step", "-5"], "There is no step -5 in this session."),
        (["graph", "run.gradwatch", "--backward", "3"], "Step 1 has backward calls 0 to 0; there is no call 3."),
        (["graph", "run.gradwatch", "--module", "head"], "The graph has no module head"),
        (["run"], "There is no program to run. Name one: gradwatch run train.py"),
        (["run", "-o", "run.gradwatch", "x.py"], "run.gradwatch is already there and was not overwritten."),
    ],
)
def test_a_request_that_does_not_fit_is_told_in_words(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert_one_sentence(capsys, told, "")


@pytest.mark.parametrize(
    "arguments", [["held", "run.gradwatch", "--by", "colour"], ["gradients", "run.gradwatch", "--sort", "x"], ["dance"]]
)
def test_an_option_that_is_not_known_lists_those_that_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "sklearn" else object())
    assert cli.main(["demo"]) == 2
    assert_one_sentence(capsys, "gradwatch demo needs scikit-learn", "pip install scikit-learn")


def test_demo_trains_records_and_shows() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    Path("digits.gradwatch").write_bytes(b"an earlier demo")
    ended = gradwatch("demo")
    assert (ended.stderr, ended.returncode) == ("", 0)
    for words in ("$ gradwatch run -o digits.gradwatch", "test accuracy", "Gradients at step", "conv1.weight", "Next"):
        assert words in ended.stdout


def test_the_example_knows_nothing_of_gradwatch() -> None:
    example = Path(__file__).parents[1] / "examples" / "digits.py"
    text = example.read_text(encoding="utf-8")
    assert example.samefile(cli.Demo.PROGRAM), "there is one copy"
    assert "gradwatch" not in text
    assert len(text.splitlines()) <= 40


def assert_one_sentence(capsys: pytest.CaptureFixture[str], told: str, way_out: str) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gradwatch: {told}") or told in err.partition("\n")[0]
    assert way_out in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2

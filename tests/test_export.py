"""Exports: what stands in the file stands in the tables, nothing half-written stays, and memory does not grow."""

from __future__ import annotations

import csv
import io
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradwatch import cli
from gradwatch import open as open_session
from gradwatch.records import Column, Parameters
from gradwatch.reporters.exports.crc32c import crc32c
from gradwatch.reporters.exports.tables import TABLES
from session_factory import (
    Node,
    backward,
    column,
    gradients,
    graph,
    histograms,
    optimizer_step,
    parameter,
    step,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradwatch.records import Record

GOLDEN = Path(__file__).parent / "golden"
TARGETS = ("csv", "parquet", "tensorboard", "perfetto", "memory-viz")
WRITTEN = {
    "csv": "run_csv",
    "parquet": "run_parquet",
    "tensorboard": "run_tensorboard",
    "perfetto": "run.trace.json",
    "memory-viz": "run.memory.pickle",
}
HOSTILE = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\ttab", 'quo"te', "line\nbreak", "<script>", "x" * 10_000)


@pytest.fixture(autouse=True)
def _in_an_empty_folder_with_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(GOLDEN / "seed.gradwatch", tmp_path / "run.gradwatch")
    monkeypatch.chdir(tmp_path)


def export(target: str, *options: str, file: str = "run.gradwatch") -> int:
    return cli.main(["export", file, "--to", target, *options])


def table(path: str) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 20)
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def present() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"run.gradwatch"}


def long_session(path: Path, steps: int, parameters: int = 20) -> Path:
    names = Parameters([parameter(number, f"layers.{number}.weight", (4, 4)) for number in range(parameters)])
    tensors: dict[int, Sequence[float]] = {number: [1.0 + number, -2.0] for number in range(parameters)}

    def flushes() -> Iterator[Iterable[Record]]:
        yield [names]
        for number in range(steps):
            yield [gradients(number, tensors), backward(number), step(number, loss=1.0 / (number + 1))]

    return write_session(path, flushes())


def hostile_session(path: Path) -> Path:
    names = Parameters([parameter(number, name, is_leaf_tensor=True) for number, name in enumerate(HOSTILE)])
    ids = range(len(HOSTILE))
    first: dict[int, Sequence[float]] = {number: [1.0, -3.0, 0.0] for number in ids}
    second: dict[int, Sequence[float]] = {**first, 0: [math.nan, 2.0], 1: [math.inf, 2.0], 2: [math.nan, math.nan]}
    return write_session(
        path,
        [
            [names, gradients(0, first), histograms(0, {number: first[number][:2] for number in ids})],
            [optimizer_step(0, dict.fromkeys(ids, (3.0, 1.0, 0.5))), backward(0), step(0, loss=2.5)],
            [gradients(1, second), backward(1), step(1, loss_nonfinite="nan")],
            [backward(2), step(2, loss_nonfinite="-inf")],
            [backward(3), step(3)],
        ],
    )


@pytest.mark.parametrize("target", TARGETS)
def test_every_format_is_written_beside_the_session(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(target) == 0
    assert present() == {WRITTEN[target]}
    assert capsys.readouterr().out.startswith(f"{WRITTEN[target]}: ")


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_overwritten_without_force(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(WRITTEN[target])
    assert export(target) == 0
    files = [path] if path.is_file() else sorted(path.iterdir())
    content = [file.read_bytes() for file in files]
    files[0].write_bytes(b"mine")
    capsys.readouterr()
    assert export(target) == 2
    assert "already there and was not overwritten" in capsys.readouterr().err
    assert files[0].read_bytes() == b"mine"
    assert export(target, "--force") == 0
    assert [file.read_bytes() for file in files] == content


def test_force_keeps_what_else_is_in_the_folder() -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep")
    assert export("csv", "-o", "mine", "--force") == 0
    assert Path("mine/notes.txt").read_text() == "keep"
    assert Path("mine/steps.csv").exists()


@pytest.mark.parametrize(("target", "made"), [("csv", "file"), ("perfetto", "folder")])
def test_a_folder_and_a_file_do_not_replace_each_other(
    target: str, made: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if made == "file":
        Path("out").write_text("mine")
    else:
        Path("out").mkdir()
    assert export(target, "-o", "out", "--force") == 2
    assert "out cannot be overwritten" in capsys.readouterr().err
    assert present() == {"out"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "7:9"], "There are no steps 7:9 in this session. It has steps 0 to 1."),
        (["--steps", "last"], "'last' names no steps."),
        (["--steps", ":"], "':' names no steps."),
        (["--table", "colours"], "There is no table 'colours'. There are: steps, "),
        (["-o", "nowhere/out"], "there is no folder nowhere.\nMake it first: mkdir -p nowhere"),
    ],
)
def test_what_does_not_fit_is_told_in_words(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("csv", *options) == 2
    assert told in capsys.readouterr().err
    assert present() == set()


def test_the_session_itself_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("run.gradwatch").read_bytes()
    assert export("perfetto", "-o", "./run.gradwatch", "--force") == 2
    assert "is the session itself" in capsys.readouterr().err
    assert Path("run.gradwatch").read_bytes() == before


def test_tables_are_refused_where_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert export("perfetto", "--table", "steps") == 2
    assert "--table is for csv and parquet" in capsys.readouterr().err


@pytest.mark.parametrize("target", TARGETS)
def test_a_disk_that_is_full_leaves_nothing_behind(target: str) -> None:
    record = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600));"
    run = "from gradwatch.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", record + run, "export", "run.gradwatch", "--to", target]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert f"Cannot write {WRITTEN[target]}: file too large. Nothing of it was left." in ended.stderr
    assert present() == set()


def test_an_export_that_is_interrupted_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        assert any(name.endswith(".part") for name in present())
        raise KeyboardInterrupt

    monkeypatch.setattr("gradwatch.reporters.exports.perfetto._number", interrupt)
    assert export("perfetto") == 130
    assert present() == set()


def test_parquet_without_pyarrow_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export("parquet") == 2
    assert "pip install gradwatch[export]" in capsys.readouterr().err
    assert present() == set()


@pytest.mark.parametrize("target", TARGETS)
def test_exporting_needs_no_torch_and_no_tensorboard(target: str) -> None:
    code = (
        "import sys; from gradwatch.cli import main; code = main(sys.argv[1:]);"
        "loaded = {'torch', 'tensorboard', 'google', 'pandas'} & set(sys.modules);"
        "sys.exit(code or str(loaded or '') or 0)"
    )
    command = [sys.executable, "-c", code, "export", "run.gradwatch", "--to", target]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_long_export_shows_how_far_it_is_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shares: list[float] = []

    def note(_: object, _task: object, *, completed: float) -> None:
        shares.append(completed)

    long_session(Path("long.gradwatch"), 400, parameters=2)
    monkeypatch.setattr("gradwatch.reporters.exports.progress._SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr("gradwatch.reporters.exports.progress.Bar.update", note)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert export("csv", file="long.gradwatch") == 0
    assert "long.gradwatch to csv" in terminal.getvalue()
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.2
    assert 0.8 < shares[-1] <= 1


def test_nothing_is_shown_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long_session(Path("long.gradwatch"), 400, parameters=2)
    monkeypatch.setattr("gradwatch.reporters.exports.progress._SHOWN_AFTER_S", 0.0)
    assert export("csv", file="long.gradwatch") == 0
    assert capsys.readouterr().err == ""


# Tables


def test_the_gradient_table_says_what_the_session_says() -> None:
    assert export("csv") == 0
    rows = table("run_csv/gradients.csv")
    with open_session("run.gradwatch") as session:
        expected: dict[tuple[str, ...], dict[str, float | int]] = {}
        for kind in ("parameter", "module", "node"):
            for number in (0, 1):
                found = session.gradients_at(number, kind, micro_batches=True)
                for position, name in enumerate(found.names):
                    place = (str(number), str(found.backward[position]), kind, str(found.subjects[position]), name)
                    expected[place] = found.row(position)
    found_places = [tuple(row[key] for key in ("step", "backward", "kind", "subject", "name")) for row in rows]
    assert sorted(found_places) == sorted(expected)
    for place, row in zip(found_places, rows, strict=True):
        for key, value in expected[place].items():
            assert float(row[key]) == pytest.approx(value, nan_ok=True), (place, key)


def test_the_held_table_adds_up_to_what_the_session_says() -> None:
    assert export("csv", "--table", "held", "--steps", "1") == 0
    rows = table("run.held.csv")
    with open_session("run.gradwatch") as session:
        by_line = dict(session.held(1).by("line"))
        by_class = {name: size for name, size in session.held(1).class_bytes.items() if size}
    counted = [row for row in rows if row["class"] in ("activation", "input", "not observable")]
    lines: dict[str, int] = {}
    classes: dict[str, int] = {}
    for row in counted:
        line = f"{Path(row['file']).name}:{row['line']}"
        lines[line] = lines.get(line, 0) + int(row["bytes"])
    for row in rows:
        classes[row["class"]] = classes.get(row["class"], 0) + int(row["bytes"])
    assert {row["step"] for row in rows} == {"1"}
    assert lines == by_line
    assert classes == by_class


def test_nodes_and_edges_say_what_the_graph_says() -> None:
    assert export("csv") == 0
    with open_session("run.gradwatch") as session:
        graph = session.graph(0)
        nodes = [(node.name, node.module, node.parameter or "") for node in graph.nodes]
        edges = [(edge.source, edge.target) for edge in graph.edges]
    assert [(row["op"], row["module"], row["parameter"]) for row in table("run_csv/nodes.csv")] == nodes
    assert [(int(row["source"]), int(row["target"])) for row in table("run_csv/edges.csv")] == edges


def test_a_cell_of_text_is_no_formula_and_numbers_stay_numbers() -> None:
    hostile_session(Path("hostile.gradwatch"))
    assert export("csv", file="hostile.gradwatch") == 0
    names = [row["name"] for row in table("hostile_csv/parameters.csv")]
    assert all(f"'{name}" in names for name in HOSTILE[:5])
    assert not any(name.startswith(("=", "+", "-", "@", "\t")) for name in names)
    assert {'quo"te', "line\nbreak", "<script>"} <= set(names)
    assert max(map(len, names)) == 4096, "a name is cut"
    assert {row["min"] for row in table("hostile_csv/gradients.csv") if row["step"] == "0"} == {"-3.0"}


def test_what_is_not_finite_and_what_is_missing_differ() -> None:
    hostile_session(Path("hostile.gradwatch"))
    assert export("csv", file="hostile.gradwatch") == 0
    assert [row["loss"] for row in table("hostile_csv/steps.csv")] == ["2.5", "nan", "-inf", ""]
    row = table("hostile_csv/gradients.csv")[len(HOSTILE) + 2]
    assert (row["count"], row["nan"], row["min"]) == ("2", "2", "nan")


def test_every_column_is_documented_and_named_once() -> None:
    assert export("csv") == 0
    told = [(row["table"], row["column"]) for row in table("run_csv/columns.csv")]
    assert told == [(each.name, column.name) for each in TABLES for column in each.columns]
    for each in TABLES:
        names = [column.name for column in each.columns]
        assert len(set(names)) == len(names), each.name
        assert all(column.doc for column in each.columns), each.name


@pytest.mark.parametrize("asked", ["3:5", "3:700", "690:"])
def test_steps_are_both_included(asked: str) -> None:
    long_session(Path("long.gradwatch"), 720, parameters=1)
    assert export("csv", "--steps", asked, "--table", "gradients", file="long.gradwatch") == 0
    low, _, high = asked.partition(":")
    steps = [int(row["step"]) for row in table("long.gradients.csv")]
    assert steps == list(range(int(low), int(high or 719) + 1))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak since it began")
@pytest.mark.parametrize("target", ["csv", "parquet", "tensorboard", "perfetto"])
def test_memory_does_not_grow_with_the_rows(target: str, tmp_path: Path) -> None:
    code = (
        "import sys; import gradwatch.reporters.exports.parquet_tables as tables; tables._ROWS_IN_A_GROUP = 4096;"
        "from gradwatch.cli import main; code = main(sys.argv[1:]);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))); sys.exit(code)"
    )
    peaks: list[int] = []
    for steps in (300, 3000):
        file = long_session(tmp_path / f"{steps}.gradwatch", steps, parameters=60)
        command = [sys.executable, "-c", code, "export", str(file), "--to", target]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(ended.stdout.splitlines()[-1]))
    assert peaks[1] - peaks[0] < 16 << 10, "KiB, at ten times the steps and 162,000 more rows of 15 columns"


def test_a_damaged_chunk_costs_that_chunk_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    path = long_session(Path("long.gradwatch"), 40)
    with open_session(path) as session:
        channel = session.reader._channel(type(gradients(0, {0: [1.0]})))
        entry = session.reader.index.entry(channel, 20)
    content = bytearray(path.read_bytes())
    content[entry.offset + entry.length - 5] ^= 0xFF
    path.write_bytes(content)
    assert export("csv", "--table", "gradients", file="long.gradwatch") == 0
    assert "1 places of the session could not be read" in capsys.readouterr().err
    steps = {int(row["step"]) for row in table("long.gradients.csv")}
    assert steps == set(range(40)) - {20}


@pytest.mark.parametrize("target", ["csv", "parquet", "tensorboard", "perfetto"])
def test_names_of_a_stranger_do_no_harm(target: str) -> None:
    hostile_session(Path("run.gradwatch"))
    assert export(target) == 0
    assert present() == {WRITTEN[target]}
    files = list(Path(WRITTEN[target]).iterdir()) if Path(WRITTEN[target]).is_dir() else [Path(WRITTEN[target])]
    assert all(b"x" * 4097 not in file.read_bytes() for file in files), "names are cut"


@pytest.mark.parametrize("target", ["csv", "parquet", "tensorboard", "perfetto"])
def test_a_record_that_does_not_fit_costs_that_record(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = gradients(1, {0: [1.0], 1: [2.0]})
    torn = replace(whole, step=2, columns={**whole.columns, "l2": column("<f4", [1.0])})
    beyond = replace(whole, step=1 << 63)
    names = Parameters([parameter(0, "a"), parameter(1, "b")])
    steps = [step(number) for number in (1, 2)]
    write_session(Path("run.gradwatch"), [[names, whole, torn, *steps, *map(backward, (1, 2))], [beyond]])
    assert export(target) == 0
    assert "records of the session could not be read; they are left out." in capsys.readouterr().err
    if target == "csv":
        assert {row["step"] for row in table("run_csv/gradients.csv")} == {"1"}


def test_subjects_of_the_same_bytes_and_another_dtype_are_not_taken_for_each_other() -> None:
    narrow = gradients(1, {0: [1.0], 1: [2.0]})
    wide = replace(gradients(2, {0: [1.0]}), subjects=Column("<u8", narrow.subjects.data))
    names = Parameters([parameter(0, "a"), parameter(1, "b")])
    records = [names, narrow, wide, *map(step, (1, 2)), *map(backward, (1, 2))]
    write_session(Path("run.gradwatch"), [records])
    assert export("csv") == 0
    assert [row["name"] for row in table("run_csv/gradients.csv") if row["step"] == "1"] == ["a", "b"]


def test_a_graph_of_more_edges_than_it_has_costs_that_graph(capsys: pytest.CaptureFixture[str]) -> None:
    lying = replace(graph(0, [Node("MulBackward0")], [(0, 0, 0, 0)], [0]), edge_count=(1 << 31) - 1)
    write_session(Path("run.gradwatch"), [[lying, step(1), backward(1, graph=0)]])
    assert export("csv") == 0
    assert "could not be read; they are left out." in capsys.readouterr().err
    assert table("run_csv/edges.csv") == []


@pytest.mark.parametrize("name", ["torn", "accumulate", "variants"])
@pytest.mark.parametrize("target", ["csv", "parquet", "tensorboard", "perfetto"])
def test_every_golden_session_can_be_exported(name: str, target: str) -> None:
    shutil.copy(GOLDEN / f"{name}.gradwatch", "run.gradwatch")
    assert export(target) == 0


def test_the_checksum_is_the_published_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32)) * 40) == slow_crc32c(bytes(range(32)) * 40)


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

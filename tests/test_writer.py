"""The writer: what it takes is in the file, and nothing it meets reaches the program."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mcap.reader
import pytest

from answer_records import ANSWERS
from gradwatch.errors import RecordingError, SessionExists
from gradwatch.records import (
    SERIES_STATISTICS,
    TOPICS,
    GradientStates,
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Notice,
    Parameters,
    Record,
    Series,
    Site,
    Sites,
    SourceFile,
    Step,
    Stop,
    Totals,
)
from gradwatch.session import writer as writer_module
from gradwatch.session.reader import SessionReader
from gradwatch.session.writer import SessionWriter
from session_factory import (
    FINISH,
    RUN,
    START_NS,
    Node,
    RegionOp,
    Saved,
    Storage,
    backward,
    column,
    gradients,
    graph,
    held,
    histograms,
    ledger,
    optimizer_step,
    parameter,
    region,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRED = column("|u1", [0, 2])
ONE_GRAPH = graph(0, [Node("AccumulateGrad", parameter=0), Node("MulBackward0")], [(1, 0, 0, 0)], [1])

EVERY_RECORD: list[Record] = [
    SourceFile("/home/someone/a.py", "0" * 64, "x = 1\n"),
    Sites([Site(0, "/home/someone/a.py", 1, "f", 4, 1, 9)]),
    Modules([Module(0, "model", "", "Net")]),
    Parameters([parameter(0, "weight", [2, 3], aliases=["other"])]),
    ModuleOutputs([ModuleOutput(0, 0, "[1]", 1)]),
    region(0, "net", [RegionOp("x", "input"), RegionOp("sin", "aten.sin.default", uses=(0,), saved=True)], []),
    ONE_GRAPH,
    ledger(0, 0, [Saved(1, "self", 0, (2, 3))], [Storage(24)]),
    backward(3, graph=0, ledger=0, class_bytes=[24, 0, 0, 0, 0, 0], error="RuntimeError: x"),
    step(3, 0.25),
    gradients(3, {0: [1.0, -2.0]}),
    histograms(3, {0: [1.0, -2.0]}),
    optimizer_step(3, {0: (1.0, 2.0, 0.01)}),
    held(3, [(0, 24), (10, 0)], [10]),
    Notice("partial", "sparse", 3, "parameter", 0, "statistics", "Traceback ..."),
    Stop(1, START_NS, 3, 7, "MainThread", "/home/someone/a.py", 1, "f", in_backward=True, node_states=FIRED),
    GradientStates(
        stop=1,
        subjects=column("<u4", [0]),
        state=column("|u1", [2]),
        stale=column("<i4", [0]),
        changed=column("|u1", [1]),
        previous_norm=column("<f4", [0.5]),
        pending=column("|u1", [0]),
    ),
    *ANSWERS,
]


def write_all(path: Path, records: Sequence[Record]) -> Path:
    writer = SessionWriter(path, RUN)
    for number, record in enumerate(records):
        assert writer.write(record, time_ns=START_NS + number)
        writer.end_step()
    writer.close(FINISH)
    assert writer.failed is None
    return path


def test_every_record_type_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a.gradwatch", EVERY_RECORD)
    with SessionReader(path) as reader:
        assert reader.finished
        assert reader.run == RUN
        found = [record for record_type in TOPICS.values() for record in reader.records(record_type)]
    given = [record for record in found if not isinstance(record, Series | Totals)]
    assert len(given) == len(TOPICS) - 2
    by_type = {type(record): record for record in given}
    assert by_type == {type(record): record for record in [RUN, *EVERY_RECORD, FINISH]}


def test_nan_and_infinities_survive(tmp_path: Path) -> None:
    written = [step(0, math.nan), step(1, math.inf), gradients(1, {0: [math.nan, math.inf]})]
    with SessionReader(write_all(tmp_path / "a.gradwatch", written)) as reader:
        losses = [record.loss for record in reader.records(Step)]
        (rows,) = reader.records(type(written[2]))
    assert repr(losses) == "[nan, inf]"
    assert rows == written[2]


def test_the_stock_mcap_reader_reads_what_is_written_and_finds_its_checksums_right(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a.gradwatch", EVERY_RECORD)
    with path.open("rb") as file:
        reader = mcap.reader.make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        found = [(channel.topic, message.sequence) for _, channel, message in reader.iter_messages()]
        (metadata,) = reader.iter_metadata()
        header = reader.get_header()
    assert header.profile == "gradwatch"
    assert metadata.name == "gradwatch"
    assert metadata.metadata["format_version"] == "1"
    assert sorted(topic for topic, _ in found) == sorted([*TOPICS, *["/series"] * (len(SERIES_STATISTICS) - 1)])
    assert ("/gradients", 3) in found
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(found)
    assert {schema.name for schema in summary.schemas.values()} == {kind.__name__ for kind in TOPICS.values()}
    assert all(len(chunk.message_index_offsets) == 1 for chunk in summary.chunk_indexes)


def test_what_flush_acknowledged_can_be_read_while_the_recording_runs(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    with SessionReader(writer.path) as reader:
        assert not reader.refresh()
        for number in range(3):
            writer.write(step(number), time_ns=START_NS)
            writer.end_step()
            assert writer.flush()
            assert reader.refresh()
            assert [record.number for record in reader.records(Step)] == list(range(number + 1))
        writer.close(FINISH)
        assert reader.refresh()
        assert reader.finished


def test_text_that_is_no_unicode_is_written_with_its_odd_characters_replaced(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "a.gradwatch", replace(RUN, argv=["caf\udce9.py"]))
    writer.write(Modules([Module(0, "model", "\udcff", "Net")]), time_ns=START_NS)
    writer.close(FINISH)
    with SessionReader(writer.path) as reader:
        assert reader.run.argv == ["caf?.py"]
        assert [entry.path for record in reader.records(Modules) for entry in record.modules] == ["?"]


def test_a_record_that_cannot_be_encoded_becomes_a_notice(tmp_path: Path) -> None:
    bad: Any = object()
    path = write_all(tmp_path / "a.gradwatch", [step(0, bad), step(1, bad), step(2, 0.5)])
    with SessionReader(path) as reader:
        (notice,) = reader.records(Notice)
        assert [record.number for record in reader.records(Step)] == [2]
    assert notice.probe == "writer"
    assert "Step records could not be written" in notice.text


def test_a_file_that_is_there_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a.gradwatch", [step(0)])
    before = path.read_bytes()
    with pytest.raises(SessionExists) as caught:
        SessionWriter(path, RUN)
    assert "overwrite=True" in str(caught.value)
    assert path.read_bytes() == before
    writer = SessionWriter(path, RUN, overwrite=True)
    writer.close(FINISH)
    with SessionReader(path) as reader:
        assert list(reader.records(Step)) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gradwatch"]


def test_overwriting_leaves_the_old_file_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_all(tmp_path / "a.gradwatch", [step(0)])
    before = path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordingError, match="no space left on device"):
        SessionWriter(path, RUN, overwrite=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gradwatch"]


def test_a_place_that_takes_no_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match=r"there is no directory .*missing.*\n.*mkdir"):
        SessionWriter(tmp_path / "missing" / "a.gradwatch", RUN)
    with pytest.raises(RecordingError, match=r"Cannot record to .*: not a directory"):
        SessionWriter(tmp_path / "file" / "a.gradwatch", RUN)
    with pytest.raises(RecordingError, match="it is a directory"):
        SessionWriter(tmp_path, RUN, overwrite=True)
    with pytest.raises(RecordingError, match="not a regular file"):
        SessionWriter(Path(os.devnull), RUN, overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_file_has_the_rights_that_the_users_umask_leaves(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = write_all(tmp_path / "a.gradwatch", [])
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_disk_that_fills_up_ends_the_writing_but_not_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    failures: list[str] = []
    writer.on_failure = failures.append
    writer.write(step(0), time_ns=START_NS)
    assert writer.flush()
    real_write = os.write

    def half_then_full(descriptor: int, data: bytes) -> int:
        if not filling:
            raise OSError(28, "No space left on device")
        filling.clear()
        return real_write(descriptor, bytes(data)[: len(data) // 2])

    filling = [True]
    size = writer.bytes_written
    monkeypatch.setattr(os, "write", half_then_full)
    writer.write(step(1), time_ns=START_NS)
    assert not writer.flush()
    monkeypatch.undo()
    assert not writer.write(step(2), time_ns=START_NS)
    writer.close(FINISH)
    assert failures == [writer.failed]
    assert "No space left on device" in failures[0]
    assert writer.path.stat().st_size == writer.bytes_written == size
    with SessionReader(writer.path) as reader:
        assert not reader.finished
        assert [record.number for record in reader.records(Step)] == [0]


PROGRAM = """
import sys
from pathlib import Path
from session_factory import FINISH, RUN, START_NS, gradients, step
from gradwatch.session.writer import SessionWriter
"""


def python(program: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    tests = Path(__file__).parent
    paths = os.pathsep.join([str(tests), str(tests.parent / "kernel_ext")])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on file sizes")
def test_a_file_size_limit_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    process = python(
        """
        import random, resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        writer = SessionWriter(Path(sys.argv[1]), RUN)
        for number in range(200):
            writer.write(gradients(number, {k: [random.random()] for k in range(20)}), time_ns=START_NS)
            writer.write(step(number), time_ns=START_NS)
            writer.end_step()
            acknowledged = number if writer.flush() else acknowledged
        writer.close(FINISH)
        print(acknowledged, writer.failed)
        """,
        tmp_path / "a.gradwatch",
    )
    output, _ = process.communicate()
    assert process.returncode == 0
    assert "File too large" in output
    with SessionReader(tmp_path / "a.gradwatch") as reader:
        assert reader.last_step(Step) >= int(output.split()[0]) > 5
        assert reader.verify() == []
        assert reader.end_of_records == reader.source.size()


def test_every_acknowledged_step_survives_the_death_of_the_process(tmp_path: Path) -> None:
    chance = random.Random(7)
    for attempt in range(12):
        path = tmp_path / f"{attempt}.gradwatch"
        process = python(
            """
            import random
            writer = SessionWriter(Path(sys.argv[1]), RUN)
            number = 0
            while True:
                writer.write(gradients(number, {k: [random.random()] for k in range(200)}), time_ns=START_NS)
                writer.write(step(number), time_ns=START_NS)
                writer.end_step()
                if number % 3 == 0 and writer.flush():
                    print(number, flush=True)
                number += 1
            """,
            path,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        acknowledged = [0, *map(int, process.communicate()[0].split("\n")[:-1])]
        with SessionReader(path) as reader:
            assert not reader.finished
            assert reader.verify() == []
            numbers = [record.number for record in reader.records(Step)]
        assert numbers == list(range(len(numbers)))
        assert numbers[-1] >= acknowledged[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_nothing_and_the_parent_goes_on(tmp_path: Path) -> None:
    process = python(
        """
        import os
        writer = SessionWriter(Path(sys.argv[1]), RUN)
        for number in range(4):
            writer.write(step(number), time_ns=START_NS)
            child = os.fork()
            if child == 0:
                if number == 0:
                    writer.abandon()
                taken = writer.write(step(100 + number), time_ns=START_NS)
                writer.end_step()
                flushed = writer.flush()
                writer.close(FINISH)
                os._exit(1 if taken or flushed else 0)
            print(os.waitpid(child, 0)[1])
        writer.close(FINISH)
        """,
        tmp_path / "a.gradwatch",
    )
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output.split() == ["0"] * 4
    with SessionReader(tmp_path / "a.gradwatch") as reader:
        assert [record.number for record in reader.records(Step)] == [0, 1, 2, 3]
        assert reader.finished
        assert reader.verify() == []


def test_no_thread_runs_before_the_first_record_or_after_the_close(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    assert writer._thread is None
    assert writer.flush()
    assert writer._thread is None
    writer.write(step(0), time_ns=START_NS)
    thread = writer._thread
    assert thread is not None
    assert thread.daemon
    writer.close(FINISH)
    assert not thread.is_alive()
    assert not writer.write(step(1), time_ns=START_NS)
    writer.close(FINISH)


def test_where_no_thread_can_be_started_the_close_writes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(writer_module.threading.Thread, "start", no_more_threads)
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    assert writer.write(step(0), time_ns=START_NS)
    assert not writer.flush()
    writer.close(FINISH)
    with SessionReader(writer.path) as reader:
        assert reader.finished
        assert [record.number for record in reader.records(Step)] == [0]


def test_when_the_disk_does_not_keep_up_detail_is_dropped_and_counted_but_never_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUE_BYTES", 50_000)
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    stuck = writer._file.append
    going_on = writer_module.threading.Event()

    def append(data: bytes) -> None:
        going_on.wait()
        stuck(data)

    monkeypatch.setattr(writer._file, "append", append)
    writer.write(Notice("partial", "x" * 300_000), time_ns=START_NS)  # the thread takes it and gets stuck
    writer.end_step()
    while writer._waiting_bytes() > 0:
        time.sleep(0.001)
    taken = [writer.write(histograms(n, {k: [1.0] for k in range(20)}), time_ns=START_NS) for n in range(100)]
    assert taken.count(False) > 50
    assert all(writer.write(replace(ONE_GRAPH, id=number), time_ns=START_NS) for number in range(300))
    assert not writer.write(gradients(0, {k: [1.0] for k in range(2000)}), time_ns=START_NS)
    assert writer.dropped == taken.count(False) + 1
    going_on.set()
    writer.close(FINISH)
    with SessionReader(writer.path) as reader:
        assert [record.id for record in reader.records(type(ONE_GRAPH))] == list(range(300))
        (finish,) = reader.records(type(FINISH))
    assert finish.records_dropped == writer.dropped


def test_the_detail_interval_doubles_as_half_of_what_is_left_of_the_budget_is_spent(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN, budget_bytes=1 << 20)
    intervals: list[int] = []
    for spent in (0.0, 0.49, 0.51, 0.74, 0.76, 0.88, 2.0):
        writer._file.size = int(spent * (1 << 20))
        intervals.append(writer.detail_interval)
    assert intervals == [1, 1, 2, 2, 4, 8, 1 << 20]
    writer._file.close()


def test_a_chunk_holds_one_topic_and_one_write_takes_it_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    real_write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(bytes(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    writer = SessionWriter(tmp_path / "a.gradwatch", RUN)
    for number in range(5):
        writer.write(step(number), time_ns=START_NS)
        writer.write(gradients(number, {0: [1.0]}), time_ns=START_NS)
    assert writer.flush()
    monkeypatch.undo()
    writer.close(FINISH)
    # Pieces of other files may pass through os.write: ours begin as a session, or as a chunk, does.
    ours = [data for data in writes if data[:1] in (b"\x89", b"\x06")]
    assert len(ours) == 3

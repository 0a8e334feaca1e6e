"""Repair: no whole record is lost, and afterwards every MCAP reader opens the file."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import mcap.reader
import pytest

from gradwatch.errors import NotASession, SessionDamaged, SessionNotFound, UsageError
from gradwatch.records import Gradients, Notice, Record, Step
from gradwatch.session.reader import SessionReader
from gradwatch.session.repair import RepairResult, repair
from gradwatch.session.writer import SessionWriter
from session_factory import RUN, backward, gradients, session_bytes, step, write_session

if TYPE_CHECKING:
    from pathlib import Path


def flushes(steps: int) -> list[list[Record]]:
    return [[backward(n), step(n, 0.5), gradients(n, {0: [1.0], 1: [2.0]})] for n in range(steps)]


def stock_steps(path: Path) -> list[int]:
    """Steps as the mcap library's readers see them, by the summary and from the first byte to the last."""
    with path.open("rb") as file:
        reader = mcap.reader.make_reader(file, validate_crcs=True)
        assert reader.get_summary() is not None
        by_summary = sorted(message.sequence for _, _, message in reader.iter_messages(topics=["/steps"]))
    with path.open("rb") as file:
        stream = mcap.reader.NonSeekingReader(file, validate_crcs=True)
        assert sorted(message.sequence for _, _, message in stream.iter_messages(topics=["/steps"])) == by_summary
    return by_summary


def test_a_file_cut_at_any_byte_is_repaired_without_losing_a_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # three thousand of them take long, and no power is cut here
    content = session_bytes(flushes(1))
    path = tmp_path / "cut.gradwatch"
    repaired: list[int] = []
    through_last_chunk = len(session_bytes(flushes(1), finish=None))
    for length in [*range(through_last_chunk + 20), *range(through_last_chunk + 20, len(content), 11)]:
        path.write_bytes(content[:length])
        try:
            with SessionReader(path) as reader:
                before = [*reader.records(Step), *reader.records(Gradients)]
        except (NotASession, SessionDamaged):
            with pytest.raises((NotASession, SessionDamaged)):
                repair(path)
            assert path.read_bytes() == content[:length]
            continue
        result = repair(path)
        with SessionReader(path) as reader:
            assert reader.complete
            assert reader.finished
            assert [*reader.records(Step), *reader.records(Gradients)] == before
        assert not result.was_finished
        repaired.append(len(stock_steps(path)))
        assert repair(path).was_finished
    assert set(repaired) == {0, 1}


def test_a_finished_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes(2))
    before = path.read_bytes()
    assert repair(path) == RepairResult(chunks=8, bytes_dropped=0, was_finished=True)
    assert path.read_bytes() == before


def test_what_was_cut_off_is_told_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gradwatch"
    path.write_bytes(session_bytes(flushes(2), finish=None) + b"\x06torn")
    assert repair(path) == RepairResult(chunks=7, bytes_dropped=5, was_finished=False)
    with SessionReader(path) as reader:
        (notice,) = reader.records(Notice)
    assert notice.text == "This file was repaired: 0 damaged stretches left out, 5 bytes cut off its end."


def test_a_repair_killed_at_any_byte_of_its_writing_can_be_repeated(tmp_path: Path) -> None:
    whole = session_bytes(flushes(2), finish=None)
    path = tmp_path / "a.gradwatch"
    path.write_bytes(whole)
    repair(path)
    repaired = path.read_bytes()
    assert repaired[: len(whole)] == whole
    for length in range(len(whole), len(repaired), 7):
        path.write_bytes(repaired[:length])
        assert not repair(path).was_finished
        assert stock_steps(path) == [0, 1]
        assert path.read_bytes()[: len(whole)] == whole


def test_a_damaged_stretch_in_the_middle_is_left_out_and_the_rest_opens_everywhere(tmp_path: Path) -> None:
    content = session_bytes(flushes(3), finish=None)
    path = tmp_path / "a.gradwatch"
    path.write_bytes(content)
    with SessionReader(path) as reader:
        first_end = next(reader.index.in_file_order())[1].end
    for position in range(first_end, len(content), 5):
        damaged = bytearray(content)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        with SessionReader(path) as reader:
            reader.verify()
            before = [[record.number for record in reader.records(Step)], list(reader.records(Gradients))]
        repair(path)
        with SessionReader(path) as reader:
            assert [[record.number for record in reader.records(Step)], list(reader.records(Gradients))] == before
            assert reader.verify() == []
        assert len(stock_steps(path)) >= 2


def test_a_file_that_a_living_process_records_is_not_touched(tmp_path: Path) -> None:
    run = replace(RUN, hostname=socket.gethostname(), pid=os.getpid())
    path = tmp_path / "a.gradwatch"
    before = session_bytes(flushes(1), run=run, finish=None)
    path.write_bytes(before)
    with pytest.raises(UsageError, match=f"still being recorded by process {os.getpid()}"):
        repair(path)
    assert path.read_bytes() == before
    assert repair(path, force=True).chunks == 4
    elsewhere = write_session(
        tmp_path / "b.gradwatch", flushes(1), run=replace(run, hostname="another machine"), finish=None
    )
    assert repair(elsewhere).chunks == 4


def test_a_file_whose_recorder_was_killed_is_repaired(tmp_path: Path) -> None:
    child = os.fork() if hasattr(os, "fork") else None
    if child is None:
        pytest.skip("needs fork")
    path = tmp_path / "a.gradwatch"
    if child == 0:
        writer = SessionWriter(path, replace(RUN, hostname=socket.gethostname(), pid=os.getpid()))
        writer.write(step(0), time_ns=1)
        writer.flush()
        os._exit(0)
    os.waitpid(child, 0)
    assert repair(path).was_finished is False
    assert stock_steps(path) == [0]


def test_what_is_no_session_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SessionNotFound):
        repair(tmp_path / "missing.gradwatch")
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with pytest.raises(NotASession):
        repair(path)
    assert path.read_text() == "notes"

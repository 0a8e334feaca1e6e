"""The reader: whatever was done to a file, what is whole is read, and what is not is said."""

from __future__ import annotations

import os
import random
import struct
import zlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mcap.writer
import msgspec
import numpy as np
import pytest
import zstandard

from gradwatch.errors import NotASession, SessionDamaged, SessionError, SessionNotFound, SessionVersionError
from gradwatch.records import TOPICS, Backward, Gradients, Notice, Record, Run, Step
from gradwatch.session import unpack as unpack_module
from gradwatch.session.container import MAGIC, RECORD_HEAD
from gradwatch.session.reader import SessionReader
from session_factory import FINISH, RUN, backward, gradients, session_bytes, step, write_session

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def flushes(steps: int = 4) -> list[list[Record]]:
    return [[backward(n), step(n, 0.5), gradients(n, {0: [1.0], 1: [2.0]})] for n in range(steps)]


def steps_of(path: Path) -> list[int]:
    with SessionReader(path) as reader:
        return [record.number for record in reader.records(Step)]


def test_finished_and_unfinished_files_say_so_and_read_alike(tmp_path: Path) -> None:
    finished = write_session(tmp_path / "a.gradwatch", flushes())
    unfinished = write_session(tmp_path / "b.gradwatch", flushes(), finish=None)
    with SessionReader(finished) as whole, SessionReader(unfinished) as open_ended:
        assert (whole.finished, open_ended.finished) == (True, False)
        for record_type in (Run, Backward, Step, Gradients):
            assert list(whole.records(record_type)) == list(open_ended.records(record_type)) != []


def test_a_file_cut_at_any_byte_gives_its_whole_chunks_or_is_refused_in_words(tmp_path: Path) -> None:
    path = write_session(tmp_path / "cut.gradwatch", flushes(2))
    through_last_chunk = len(session_bytes(flushes(2), finish=None))
    seen = [2]
    refused: list[type] = []
    told: list[str] = []
    for length in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, length)
        try:
            with SessionReader(path) as reader:
                numbers = [record.number for record in reader.records(Step)]
                assert reader.verify() == []
                assert reader.end_of_records <= length
        except (NotASession, SessionDamaged) as error:
            refused.append(type(error))
            told.append(str(error))
        else:
            assert not refused, "a shorter file must not read better"
            assert numbers == list(range(len(numbers)))
            assert len(numbers) in (seen[-1], seen[-1] - 1)
            assert len(numbers) == 2 or length < through_last_chunk
            seen.append(len(numbers))
    assert set(seen) == {0, 1, 2}
    assert set(refused) == {NotASession, SessionDamaged}
    assert all(str(path) in text for text in told)


@pytest.mark.parametrize("finished", [True, False])
def test_a_flipped_byte_anywhere_costs_at_most_its_chunk_and_is_listed(tmp_path: Path, *, finished: bool) -> None:
    path = write_session(tmp_path / "flipped.gradwatch", flushes(3), finish=FINISH if finished else None)
    content = path.read_bytes()
    with SessionReader(path) as reader:
        whole = everything(reader)
        _, first_chunk = next(reader.index.in_file_order())
    chance = random.Random(3)
    for position in range(len(MAGIC) + chance.randrange(3), len(content), 3):
        with flipped(path, position, 1 << chance.randrange(8)):
            try:
                with SessionReader(path) as reader:
                    reader.verify()
                    found, said = everything(reader), len(reader.gaps) + (reader.torn_bytes > 0)
            except SessionError:
                assert position < first_chunk.end, f"a flip at {position} hides the whole file"
                continue
        assert [record for record in found if record not in whole] == [], f"a flip at {position} made records up"
        lost = [record for record in whole if record not in found]
        assert len(lost) <= min(said, 1), f"a flip at {position} cost {lost}"


def everything(reader: SessionReader) -> list[str]:
    return [repr(record) for record_type in TOPICS.values() for record in reader.records(record_type)]


@contextmanager
def flipped(path: Path, position: int, bits: int) -> Generator[None]:
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        for value in (byte ^ bits, byte):
            file.seek(position)
            file.write(bytes([value]))
            file.flush()
            if value != byte:
                yield


def test_a_damaged_chunk_is_listed_with_its_topic_and_place(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes())
    with SessionReader(path) as reader:
        channel = reader._channel(Gradients)
        entry = reader.index.entry(channel, 2)
    content = bytearray(path.read_bytes())
    content[entry.offset + entry.length - 5] ^= 0xFF
    path.write_bytes(content)
    with SessionReader(path) as reader:
        assert reader.gaps == []
        assert [record.step for record in reader.records(Gradients)] == [0, 1, 3]
        (gap,) = reader.gaps
        assert (gap.topic, gap.offset) == ("/gradients", entry.offset)
        assert "a chunk is damaged" in gap.reason
        assert reader.records_of_step(Gradients, 2) == []
        assert [record.step for record in reader.records_of_step(Gradients, 3)] == [3]
        assert len(list(reader.records(Step))) == 4


def test_what_is_not_a_session_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.gradwatch"
    with pytest.raises(SessionNotFound, match="There is no file"):
        SessionReader(path)
    with pytest.raises(NotASession, match="it is a directory"):
        SessionReader(tmp_path)
    for content, reason in [
        (b"", "it is empty"),
        (b"\x80\x04pickle", "it does not begin with the MCAP magic bytes"),
        (MAGIC, "it is cut or damaged within its header"),
        (MAGIC + b"\xff" * 40, "it is cut or damaged within its header"),
    ]:
        path.write_bytes(content)
        with pytest.raises(NotASession) as caught:
            SessionReader(path)
        assert reason in str(caught.value)
        assert caught.value.path == path


def test_an_mcap_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "robot.mcap"
    other = mcap.writer.Writer(str(path))
    other.start(profile="ros2")
    other.finish()
    with pytest.raises(NotASession, match="profile 'ros2'"):
        SessionReader(path)


def test_a_file_cut_before_it_says_who_recorded_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.gradwatch"
    path.write_bytes(session_bytes([], finish=None)[:-200])
    with pytest.raises(SessionDamaged, match="gradwatch repair"):
        SessionReader(path)


def test_a_newer_format_is_refused_naming_both_versions(tmp_path: Path) -> None:
    content = session_bytes(flushes())
    content = content.replace(b"format_version\x01\x00\x00\x001", b"format_version\x01\x00\x00\x009")
    path = tmp_path / "a.gradwatch"
    path.write_bytes(content)
    with pytest.raises(SessionVersionError, match=r"\(format 9\); this is .* \(format 1\)"):
        SessionReader(path)


def foreign(path: Path, messages: list[tuple[str, dict[str, Any]]]) -> Path:
    """Write a session with the stock MCAP writer, as a later version of the format might."""
    later = mcap.writer.Writer(str(path))
    later.start(profile="gradwatch")
    later.add_metadata("gradwatch", {"format_version": "1", "gradwatch_version": "7.0", "more": "x"})
    channels: dict[str, int] = {}
    for topic, fields in [("/run", msgspec.to_builtins(RUN)), *messages]:
        if topic not in channels:
            schema = later.register_schema(topic[1:], "", b"")
            channels[topic] = later.register_channel(topic, "msgpack", schema)
        later.add_message(channels[topic], 5, msgspec.msgpack.encode(fields), 5, fields.get("number", 0))
        later.flush()
    later.finish()
    return path


def test_unknown_topics_and_fields_are_ignored(tmp_path: Path) -> None:
    extended = {**msgspec.to_builtins(step(3, 0.5)), "temperature": 3.5, "curve": {"a": [1]}}
    path = foreign(tmp_path / "later.gradwatch", [("/telepathy", {"x": 1}), ("/steps", extended)])
    with SessionReader(path) as reader:
        assert reader.versions.gradwatch == "7.0"
        assert list(reader.records(Step)) == [step(3, 0.5)]
        assert reader.verify() == []


def test_a_record_of_the_wrong_shape_is_a_gap_and_its_neighbours_are_read(tmp_path: Path) -> None:
    bad = {**msgspec.to_builtins(step(1)), "start_ns": "yesterday"}
    good = msgspec.to_builtins(step(2))
    path = foreign(tmp_path / "odd.gradwatch", [("/steps", bad), ("/steps", good)])
    with SessionReader(path) as reader:
        assert [record.number for record in reader.records(Step)] == [2]
        (gap,) = reader.gaps
    assert gap.topic == "/steps"
    assert "start_ns" in gap.reason


def test_a_chunk_that_claims_a_gibibyte_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gradwatch"
    opening = session_bytes([], finish=None)
    bombs = b"".join(
        _chunk(packed, claimed)
        for packed, claimed in [
            (zstandard.compress(bytes(1000)), 1 << 40),
            (_frame_claiming(1 << 40), 1000),
            (zstandard.compress(bytes(1000)), 999),
            (b"no zstd", 7),
        ]
    )
    path.write_bytes(opening + bombs)
    with SessionReader(path) as reader:
        reader.verify()
        assert len(reader.gaps) == 4
        assert "claims to unpack" in reader.gaps[0].reason


def _chunk(packed: bytes, claimed: int) -> bytes:
    content = struct.pack("<QQQI", 1, 1, claimed, zlib.crc32(bytes(1000))) + struct.pack("<I", 4) + b"zstd"
    content += struct.pack("<Q", len(packed)) + packed
    index = struct.pack("<HIQQ", 10, 16, 1, 0)
    return RECORD_HEAD.pack(6, len(content)) + content + RECORD_HEAD.pack(7, len(index)) + index


def _frame_claiming(size: int) -> bytes:
    """Make the head of a zstd frame that says it holds `size` bytes."""
    return struct.pack("<IBQ", 0xFD2FB528, 0b11100000, size) + b"\x01\x00\x00"


def test_reading_one_topic_unpacks_no_chunk_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes(10))
    with SessionReader(path) as reader:
        offsets: list[int] = []
        real_unpack = unpack_module.unpack

        def counted(source: Any, entry: Any) -> Any:
            offsets.append(entry.offset)
            return real_unpack(source, entry)

        monkeypatch.setattr("gradwatch.session.reader.unpack", counted)
        assert len(list(reader.records(Gradients))) == 10
        assert offsets == [entry.offset for entry in reader.index.entries(reader._channel(Gradients))]


@pytest.mark.parametrize("finished", [True, False])
def test_one_step_of_a_long_session_is_found_by_unpacking_a_few_chunks(
    tmp_path: Path, *, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes(600), finish=FINISH if finished else None)
    with SessionReader(path) as reader:
        unpacked: list[int] = []
        real_unpack = unpack_module.unpack

        def counted(source: Any, entry: Any) -> Any:
            unpacked.append(entry.offset)
            return real_unpack(source, entry)

        monkeypatch.setattr("gradwatch.session.reader.unpack", counted)
        for number in (0, 311, 599):
            assert [record.step for record in reader.records_of_step(Gradients, number)] == [number]
        assert len(unpacked) < 60
        assert reader.records_of_step(Gradients, 600) == []
        assert reader.last_step(Gradients) == 599


def test_records_that_come_two_steps_late_are_found(tmp_path: Path) -> None:
    order = [0, 2, 1, 3, 5, 4, 7, 8, 6, 9]
    path = write_session(tmp_path / "a.gradwatch", [[gradients(number, {0: [1.0]})] for number in order])
    with SessionReader(path) as reader:
        for number in range(10):
            assert [record.step for record in reader.records_of_step(Gradients, number)] == [number]
        assert reader.last_step(Gradients) == 9


def test_records_can_be_asked_for_by_time(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes(5))
    with SessionReader(path) as reader:
        start = RUN.start_ns + 1
        assert [record.number for record in reader.records(Step, start + 3, start + 9)] == [1, 2]
        assert list(reader.records(Notice)) == []


def test_a_growing_file_is_followed_and_a_half_written_chunk_waited_for(tmp_path: Path) -> None:
    content = session_bytes(flushes(6))
    path = tmp_path / "a.gradwatch"
    chance = np.random.default_rng(1)
    path.write_bytes(content[:3000])
    seen = 0
    with SessionReader(path) as reader, path.open("ab") as file:
        for end in [*sorted(chance.integers(3000, len(content), 40).tolist()), len(content)]:
            file.write(content[file.tell() : end])
            file.flush()
            reader.refresh()
            numbers = [record.number for record in reader.records(Step)]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) >= seen
            seen = len(numbers)
        assert seen == 6
        assert reader.finished
        assert reader.verify() == []
        assert not reader.refresh()


def test_a_file_that_shrinks_under_the_reader_is_damaged(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.gradwatch", flushes(), finish=None)
    with SessionReader(path) as reader:
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(SessionDamaged, match="shorter"):
            reader.refresh()


def test_a_run_record_of_another_version_of_the_package_is_read(tmp_path: Path) -> None:
    run = replace(RUN, gradwatch_version="0.0.9", cuda_version="12.4")
    path = write_session(tmp_path / "a.gradwatch", [], run=run)
    with SessionReader(path) as reader:
        assert reader.run == run

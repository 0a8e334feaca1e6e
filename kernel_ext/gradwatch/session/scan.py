"""Finds the chunks of a session file: by its summary when it is finished, else by hopping over records.

Hopping reads some sixty bytes a chunk and no payload. Every size that the file claims is held against
the size of the file before it is believed.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from mcap.opcode import Opcode

from gradwatch.session.chunk_index import ChunkEntry, ChunkIndex
from gradwatch.session.container import CHUNK_HEAD, DAMAGED_CHUNK, FOOTER_LENGTH, MAGIC, RECORD_HEAD, ZSTD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WINDOW_BYTES = 512
_SEARCH_BYTES = 1 << 20
_CHUNK_FIXED_BYTES = CHUNK_HEAD.size + len(ZSTD) + 8


class FileBytes:
    """Read-only access by offset, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return not self._file.closed

    def size(self) -> int:
        with self._lock:
            return self._file.seek(0, 2)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`: fewer where the file ends."""
        parts: list[bytes] = []
        with self._lock:
            self._file.seek(offset)
            while length > 0 and (part := self._file.read(length)):
                parts.append(part)
                length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Scan:
    """How far a file has been hopped through.

    `position` is the end of the last whole record, `last_record` its start. Chunks whose channel only their
    content tells (cut before their message index) stand in `unplaced`. `lost` holds (offset, end, reason) of
    bytes that are no records. `ended` says that the data section's end was met.
    """

    position: int
    last_record: int
    index: ChunkIndex
    unplaced: list[ChunkEntry]
    lost: list[tuple[int, int, str]]
    ended: bool = False


class _Window:
    """Small reads near each other, from one larger one."""

    def __init__(self, source: FileBytes) -> None:
        self._source = source
        self._start = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        if not self._start <= offset <= offset + length <= self._start + len(self._data):
            self._start, self._data = offset, self._source.read(offset, max(length, _WINDOW_BYTES))
        return self._data[offset - self._start : offset - self._start + length]


def hop(source: FileBytes, scan: Scan) -> None:
    """Take `scan` on to the last whole record, or to the end of the data section."""
    size = source.size()
    window = _Window(source)
    while not scan.ended and scan.position + RECORD_HEAD.size <= size:
        record = _record_at(window, scan.position, size)
        if record is None:
            if not _skip_to_next_chunk(source, scan, size):
                return
        elif record.opcode in (Opcode.DATA_END, Opcode.FOOTER):
            scan.ended = True
        else:
            _pass(window, scan, record, size)


def read_summary(source: FileBytes, size: int) -> tuple[Scan, bytes] | None:
    """Read a finished file's chunk index, and its summary section (for channels and schemas).

    None when there is no footer, or its checksum or contents do not fit: then the file is hopped through.
    """
    end = source.read(size - FOOTER_LENGTH - len(MAGIC), FOOTER_LENGTH + len(MAGIC)) if size > 64 else b""
    if end[FOOTER_LENGTH:] != MAGIC or end[: RECORD_HEAD.size] != RECORD_HEAD.pack(Opcode.FOOTER, 20):
        return None
    start, _, crc = struct.unpack_from("<QQI", end, RECORD_HEAD.size)
    length = size - len(MAGIC) - FOOTER_LENGTH - start
    if start < len(MAGIC) or length <= 0:
        return None
    summary = source.read(start, length)
    if crc != 0 and zlib.crc32(end[: FOOTER_LENGTH - 4], zlib.crc32(summary)) != crc:
        return None
    try:
        return _summary_scan(summary, start - RECORD_HEAD.size - 4, size), summary
    except (struct.error, ValueError):
        return None


def records_in(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and end of every record's content in `data`. Raises ValueError at one that does not fit."""
    position = 0
    while position < len(data):
        if position + RECORD_HEAD.size > len(data):
            raise ValueError(f"a record at byte {position} is cut")
        opcode, length = RECORD_HEAD.unpack_from(data, position)
        position += RECORD_HEAD.size
        if position + length > len(data):
            raise ValueError(f"a record at byte {position} claims {length} bytes")
        yield opcode, position, position + length
        position += length


@dataclass(frozen=True, slots=True)
class _Record:
    """A record that fits. `is_chunk` says whether its content begins as a chunk's does, whatever its opcode."""

    opcode: int
    start: int
    end: int
    is_chunk: bool


def _record_at(window: _Window, start: int, size: int) -> _Record | None:
    """Read a record's head; None when it is none, or is cut by the end of the file."""
    head = window.read(start, RECORD_HEAD.size + _CHUNK_FIXED_BYTES)
    opcode, length = RECORD_HEAD.unpack_from(head)
    end = start + RECORD_HEAD.size + length
    is_chunk = _begins_as_chunk(head, length)
    fits = {
        Opcode.CHUNK: is_chunk,
        Opcode.MESSAGE_INDEX: length >= 6 and head[11:15] == struct.pack("<I", (length - 6) & 0xFFFFFFFF),
        Opcode.DATA_END: length == 4,
        Opcode.FOOTER: length == 20,
    }.get(opcode, Opcode.HEADER <= opcode < Opcode.DATA_END or opcode >= DAMAGED_CHUNK)
    return _Record(opcode, start, end, is_chunk) if fits and end <= size else None


def _begins_as_chunk(head: bytes, length: int) -> bool:
    if len(head) < RECORD_HEAD.size + _CHUNK_FIXED_BYTES:
        return False
    name = head[RECORD_HEAD.size + CHUNK_HEAD.size :][: len(ZSTD)]
    return name == ZSTD and length == _CHUNK_FIXED_BYTES + int.from_bytes(head[-8:], "little")


def _skip_to_next_chunk(source: FileBytes, scan: Scan, size: int) -> bool:
    """Leave out what is no record, up to the next chunk; False when none follows: then it is the torn tail."""
    found = _next_chunk(source, scan.position + 1, size)
    if found is None:
        return False
    # Less than a record's head can only follow a record whose own length is wrong.
    start = scan.position if found - scan.position >= RECORD_HEAD.size else scan.last_record
    scan.lost.append((start, found, "what stands here is no record"))
    scan.position = found
    return True


def _pass(window: _Window, scan: Scan, record: _Record, size: int) -> None:
    """Step over a whole record, and index it when it is a chunk."""
    scan.last_record, scan.position = record.start, record.end
    if record.opcode == Opcode.CHUNK:
        scan.position = _take_chunk(window, scan, record, size)
    elif record.opcode == DAMAGED_CHUNK:
        scan.lost.append((record.start, record.end, "it was damaged when the file was repaired"))
    elif record.is_chunk:
        scan.lost.append((record.start, record.end, "a chunk's first byte is damaged"))


def _take_chunk(window: _Window, scan: Scan, record: _Record, size: int) -> int:
    """Index a chunk; return where the record behind its message index stands."""
    head = window.read(record.start + RECORD_HEAD.size, CHUNK_HEAD.size)
    start_ns, end_ns, uncompressed, _ = CHUNK_HEAD.unpack(head)
    length = record.end - record.start
    channel, index_end, messages = _message_index(window, record.end, size)
    compressed = length - RECORD_HEAD.size - _CHUNK_FIXED_BYTES
    index_length = index_end - record.end
    entry = ChunkEntry(record.start, length, start_ns, end_ns, index_length, compressed, uncompressed, messages)
    if channel < 0:
        scan.unplaced.append(entry)
    else:
        scan.last_record = record.end
        scan.index.add(channel, entry)
    return index_end


def _message_index(window: _Window, offset: int, size: int) -> tuple[int, int, int]:
    """Channel, end and number of messages of the message index at `offset`; -1 and `offset` where none is."""
    if offset + RECORD_HEAD.size + 6 > size:
        return -1, offset, 0
    record = _record_at(window, offset, size)
    if record is None or record.opcode != Opcode.MESSAGE_INDEX:
        return -1, offset, 0
    channel, length = struct.unpack("<HI", window.read(offset + RECORD_HEAD.size, 6))
    return channel, record.end, length // 16


def _next_chunk(source: FileBytes, start: int, size: int) -> int | None:
    """Offset of the next thing after `start` that looks like a whole chunk in every respect."""
    distance = RECORD_HEAD.size + CHUNK_HEAD.size  # from a chunk's first byte to its compression's name
    block_start = start + distance
    while block_start < size:
        block = source.read(block_start, _SEARCH_BYTES + len(ZSTD) - 1)
        found = block.find(ZSTD)
        while found >= 0:
            if _is_chunk(source, block_start + found - distance, size):
                return block_start + found - distance
            found = block.find(ZSTD, found + 1)
        block_start += _SEARCH_BYTES
    return None


def _is_chunk(source: FileBytes, offset: int, size: int) -> bool:
    head = source.read(offset, RECORD_HEAD.size + _CHUNK_FIXED_BYTES)
    opcode, length = RECORD_HEAD.unpack_from(head)
    return opcode == Opcode.CHUNK and _begins_as_chunk(head, length) and offset + RECORD_HEAD.size + length <= size


def _summary_scan(summary: bytes, data_end: int, size: int) -> Scan:
    scan = Scan(data_end, data_end, ChunkIndex(), [], [], ended=True)
    for opcode, start, end in records_in(summary):
        if opcode == Opcode.CHUNK_INDEX:
            channels, entry = _indexed_chunk(summary[start:end])
            if entry.end > size:
                raise ValueError(f"a chunk at byte {entry.offset} lies behind the end of the file")
            for channel in channels:
                scan.index.add(channel, entry)
            if not channels:
                scan.unplaced.append(entry)
    return scan


def _indexed_chunk(content: bytes) -> tuple[list[int], ChunkEntry]:
    start_ns, end_ns, offset, length, map_length = struct.unpack_from("<QQQQI", content)
    channels = [struct.unpack_from("<H", content, 36 + place)[0] for place in range(0, map_length, 10)]
    behind = 36 + map_length
    index_length, name_length = struct.unpack_from("<QI", content, behind)
    compressed, uncompressed = struct.unpack_from("<QQ", content, behind + 12 + name_length)
    messages = max(0, index_length - RECORD_HEAD.size - 6) // 16
    return channels, ChunkEntry(offset, length, start_ns, end_ns, index_length, compressed, uncompressed, messages)

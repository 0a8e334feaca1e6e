"""Takes the head and the chunks of a session file apart, believing nothing that does not check."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Header, Metadata, Schema

from gradwatch.session.container import (
    CHUNK_HEAD,
    MAGIC,
    MESSAGE_HEAD,
    METADATA_NAME,
    PROFILE,
    RECORD_HEAD,
    ZSTD,
    FileHead,
)
from gradwatch.session.scan import FileBytes, records_in

if TYPE_CHECKING:
    from gradwatch.session.chunk_index import ChunkEntry

LARGEST_CHUNK_BYTES = 128 << 20
"""A chunk that is larger, or claims to unpack to more, is not unpacked. A graph of a million nodes takes a third."""
MOST_RECORDS = 1 << 16
"""A chunk of more records is not read: the writer ends a chunk at a mebibyte."""

_LARGEST_HEAD_BYTES = 1 << 16
_PACKED = RECORD_HEAD.size + CHUNK_HEAD.size + len(ZSTD) + 8
_MISFITS = (struct.error, ValueError, McapError)  # what the mcap library raises at bytes that do not fit


class UnreadableError(ValueError):
    """Bytes that are not what they should be; the text says in what way."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Who wrote a file, in which format, and where its metadata record lies. Chunks begin at `end`."""

    gradwatch: str
    format: int
    metadata_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chunk: its channel, its time in ns, its step, and where in the chunk its payload lies."""

    channel: int
    time_ns: int
    step: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Content:
    """An unpacked chunk and its messages."""

    data: bytes
    messages: list[Message]

    @property
    def steps(self) -> tuple[int, int]:
        """Lowest and highest step in it; (0, -1) when it is empty."""
        steps = [message.step for message in self.messages]
        return min(steps, default=0), max(steps, default=-1)


def read_versions(source: FileBytes) -> Versions:
    """Read what stands before the first chunk. Raises UnreadableError when it is not as in a session."""
    head = source.read(0, _LARGEST_HEAD_BYTES)
    if head[: len(MAGIC)] != MAGIC:
        raise UnreadableError("it is empty" if not head else "it does not begin with the MCAP magic bytes")
    profile = _header_profile(head)
    if profile != PROFILE:
        raise UnreadableError(f"it is an MCAP file of another kind (profile {profile!r})")
    start = _record_end(head, len(MAGIC))
    name, entries = _metadata(head, start)
    if name != METADATA_NAME or not entries.get("format_version", "").isdecimal():
        raise UnreadableError("it does not say which format it is in")
    written_by = entries.get("gradwatch_version", "of unknown version")
    return Versions(written_by, int(entries["format_version"]), start, _record_end(head, start))


def unpack(source: FileBytes, entry: ChunkEntry) -> Content:
    """Unpack a chunk. Raises UnreadableError when its sizes, its checksum or its records do not fit."""
    if max(entry.length, entry.uncompressed) > LARGEST_CHUNK_BYTES:
        raise UnreadableError(f"it claims to unpack to {entry.uncompressed} bytes")
    record = source.read(entry.offset, entry.length)
    if len(record) < max(entry.length, _PACKED) or record[0] != Opcode.CHUNK:
        raise UnreadableError("there is no chunk")
    _, _, uncompressed, checksum = CHUNK_HEAD.unpack_from(record, RECORD_HEAD.size)
    if record[_PACKED - 8 - len(ZSTD) : _PACKED - 8] != ZSTD or uncompressed != entry.uncompressed:
        raise UnreadableError("its header does not fit")
    packed = int.from_bytes(record[_PACKED - 8 : _PACKED], "little")
    data = _decompress(memoryview(record)[_PACKED : _PACKED + packed], uncompressed)
    if checksum not in (0, zlib.crc32(data)):
        raise UnreadableError("its checksum does not fit")
    try:
        return Content(data, _messages(data))
    except ValueError as error:
        raise UnreadableError(str(error)) from error


def declarations(data: bytes) -> tuple[list[Schema], dict[int, Channel]]:
    """Schemas and channels (by id) among the records in `data`. Raises UnreadableError."""
    schemas: list[Schema] = []
    channels: dict[int, Channel] = {}
    try:
        for opcode, start, end in records_in(data):
            if opcode == Opcode.SCHEMA:
                schemas.append(Schema.read(_stream(data[start:end])))
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(_stream(data[start:end]))
                channels[channel.id] = channel
    except _MISFITS as error:
        raise UnreadableError(f"its channels do not unpack ({error})") from error
    return schemas, channels


def file_head(versions: Versions, data: bytes) -> FileHead:
    """Put a file's declarations, found in `data`, together with where its metadata lies."""
    schemas, channels = declarations(data)
    if not channels:
        raise UnreadableError("its channels are not where they should be")
    return FileHead(schemas, channels, versions.metadata_offset, versions.end - versions.metadata_offset)


def _decompress(packed: memoryview, size: int) -> bytes:
    try:
        if zstandard.get_frame_parameters(packed).content_size != size:
            raise UnreadableError("its sizes do not fit")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except zstandard.ZstdError as error:
        raise UnreadableError(f"it does not unpack ({error})") from error


def _messages(data: bytes) -> list[Message]:
    """Find the messages of an unpacked chunk. Raises ValueError at records that do not fit."""
    messages: list[Message] = []
    for count, (opcode, start, end) in enumerate(records_in(data)):
        if opcode == 0 or count >= MOST_RECORDS:
            raise ValueError(
                f"it holds more than {MOST_RECORDS:,} records" if opcode else "it holds a record of no kind"
            )
        if opcode == Opcode.MESSAGE and end - start >= MESSAGE_HEAD.size:
            channel, step, time_ns, _ = MESSAGE_HEAD.unpack_from(data, start)
            messages.append(Message(channel, time_ns, step, start + MESSAGE_HEAD.size, end))
    return messages


def _header_profile(head: bytes) -> str:
    try:
        return Header.read(_stream(_record(head, len(MAGIC), Opcode.HEADER))).profile
    except _MISFITS as error:
        raise UnreadableError("it is cut or damaged within its header") from error


def _metadata(head: bytes, start: int) -> tuple[str, dict[str, str]]:
    try:
        metadata = Metadata.read(_stream(_record(head, start, Opcode.METADATA)))
    except _MISFITS as error:
        raise UnreadableError("it is cut or damaged before the place that names its format") from error
    return metadata.name, metadata.metadata


def _record(data: bytes, start: int, opcode: Opcode) -> bytes:
    found, length = RECORD_HEAD.unpack_from(data, start)
    content = data[start + RECORD_HEAD.size : start + RECORD_HEAD.size + length]
    if found != opcode or len(content) < length:
        raise ValueError("another record stands there")
    return content


def _record_end(data: bytes, start: int) -> int:
    return start + RECORD_HEAD.size + RECORD_HEAD.unpack_from(data, start)[1]


def _stream(content: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(content))

"""The MCAP layout of a session file: what writer and repair put into it and readers look for.

Header, one Metadata record named "gradwatch", then chunks of one channel each, every one followed by
its message index; a finished file ends with a summary and a footer. Record layouts are the mcap library's;
chunk index and compression are ours, because its Writer keeps half a kilobyte a chunk in memory.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.records import ChunkIndex as ChunkIndexRecord

from gradwatch._version import __version__
from gradwatch.records import FORMAT_VERSION, TOPICS
from gradwatch.session.chunk_index import ChunkEntry, ChunkIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAGIC = b"\x89MCAP0\r\n"
PROFILE = "gradwatch"
METADATA_NAME = "gradwatch"
MESSAGE_ENCODING = "msgpack"
DAMAGED_CHUNK = 0x80
"""A private opcode: `repair` puts it over a record that does not unpack, and readers step over it."""

RECORD_HEAD = struct.Struct("<BQ")
CHUNK_HEAD = struct.Struct("<QQQI")
MESSAGE_HEAD = struct.Struct("<HIQQ")
ZSTD = struct.pack("<I", 4) + b"zstd"
"""How a chunk names its compression. Others are not read."""
FOOTER_LENGTH = RECORD_HEAD.size + 20
CHANNEL_IDS = {topic: number for number, topic in enumerate(TOPICS, start=1)}

_COMPRESSION_LEVEL = 1  # level 3 takes a third more time for 3 % fewer bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoded record on its way into a chunk. `step` becomes the message's sequence number."""

    time_ns: int
    step: int
    payload: bytes


def encode_records(records: Iterable[McapRecord]) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return builder.end()


@dataclass(frozen=True, slots=True)
class FileHead:
    """What stands before the first chunk, and the schemas and channels that the file uses."""

    schemas: Sequence[Schema]
    channels: Mapping[int, Channel]
    metadata_offset: int
    metadata_length: int


def new_head() -> tuple[bytes, FileHead]:
    """Encode magic, header and the metadata record that names the format, for a file of this version."""
    header = MAGIC + encode_records([Header(PROFILE, f"gradwatch {__version__}")])
    versions = {"format_version": str(FORMAT_VERSION), "gradwatch_version": __version__}
    metadata = encode_records([Metadata(METADATA_NAME, versions)])
    schemas = [Schema(number, b"", "", TOPICS[topic].__name__) for topic, number in CHANNEL_IDS.items()]
    channels = {number: Channel(number, topic, MESSAGE_ENCODING, {}, number) for topic, number in CHANNEL_IDS.items()}
    return header + metadata, FileHead(schemas, channels, len(header), len(metadata))


def encode_chunk(
    channel: int, entries: Sequence[Entry], preamble: Iterable[McapRecord] = ()
) -> tuple[bytes, ChunkEntry]:
    """Encode one channel's records as a chunk and its message index.

    `preamble` holds schemas and channels to put in front. The returned entry has offset 0: the caller
    knows where the bytes go.
    """
    content = RecordBuilder()
    for record in preamble:
        record.write(content)
    places: list[tuple[int, int]] = []
    for entry in entries:
        places.append((entry.time_ns, content.count))
        Message(channel, entry.time_ns, entry.payload, entry.time_ns, entry.step).write(content)
    plain = content.end()
    packed = zstandard.compress(plain, _COMPRESSION_LEVEL)
    times = [time_ns for time_ns, _ in places]
    chunk = encode_records([Chunk("zstd", packed, max(times), min(times), zlib.crc32(plain), len(plain))])
    index = encode_records([MessageIndex(channel, places)])
    place = ChunkEntry(0, len(chunk), min(times), max(times), len(index), len(packed), len(plain), len(places))
    return chunk + index, place


def encode_tail(start: int, index: ChunkIndex, head: FileHead) -> bytes:
    """Encode everything behind the last chunk of a finished file: data end, summary, footer, magic.

    `start` is the offset at which these bytes will lie.
    """
    data_end = encode_records([DataEnd(0)])
    metadata_index = MetadataIndex(head.metadata_offset, head.metadata_length, METADATA_NAME)
    summary_start = start + len(data_end)
    groups = [
        (Opcode.SCHEMA, encode_records(head.schemas)),
        (Opcode.CHANNEL, encode_records(head.channels.values())),
        (Opcode.STATISTICS, encode_records([_statistics(index, head)])),
        (Opcode.CHUNK_INDEX, encode_records(_chunk_index_record(*place) for place in index.in_file_order())),
        (Opcode.METADATA_INDEX, encode_records([metadata_index])),
    ]
    summary = b"".join(content for _, content in groups)
    offsets_start = summary_start + len(summary)
    summary += encode_records(_summary_offsets(summary_start, groups))
    crc = zlib.crc32(summary)
    crc = zlib.crc32(struct.pack("<BQQQ", Opcode.FOOTER, 20, summary_start, offsets_start), crc)
    return data_end + summary + encode_records([Footer(summary_start, offsets_start, crc)]) + MAGIC


def _summary_offsets(start: int, groups: Iterable[tuple[Opcode, bytes]]) -> Iterable[SummaryOffset]:
    for opcode, content in groups:
        if content:
            yield SummaryOffset(group_opcode=opcode, group_start=start, group_length=len(content))
        start += len(content)


def _statistics(index: ChunkIndex, head: FileHead) -> Statistics:
    counts = {channel: sum(entry.messages for entry in index.entries(channel)) for channel in index.channels}
    ends = [(entry.start_ns, entry.end_ns) for _, entry in index.in_file_order()]
    return Statistics(
        attachment_count=0,
        channel_count=len(head.channels),
        channel_message_counts=counts,
        chunk_count=len(index),
        message_count=sum(counts.values()),
        message_end_time=max((end for _, end in ends), default=0),
        message_start_time=min((start for start, _ in ends), default=0),
        metadata_count=1,
        schema_count=len(head.schemas),
    )


def _chunk_index_record(channel: int, entry: ChunkEntry) -> ChunkIndexRecord:
    indexed = {channel: entry.offset + entry.length} if entry.index_length else {}
    return ChunkIndexRecord(
        chunk_length=entry.length,
        chunk_start_offset=entry.offset,
        compression="zstd",
        compressed_size=entry.compressed,
        message_end_time=entry.end_ns,
        message_index_length=entry.index_length,
        message_index_offsets=indexed,
        message_start_time=entry.start_ns,
        uncompressed_size=entry.uncompressed,
    )

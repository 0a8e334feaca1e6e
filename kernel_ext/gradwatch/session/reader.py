"""Reads a session file, finished or not, one topic at a time: only the index of its chunks stays in memory.

A damaged chunk costs that chunk and is listed in `gaps`; a torn tail is left out. Nothing is ever written.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gradwatch._version import __version__
from gradwatch.errors import NotASession, SessionDamaged, SessionNotFound, SessionVersionError
from gradwatch.records import FORMAT_VERSION, TOPICS, Run
from gradwatch.session.chunk_index import ChunkEntry, ChunkIndex
from gradwatch.session.encoding import check_numbers, decoder
from gradwatch.session.folder import why_no_session
from gradwatch.session.scan import FileBytes, Scan, hop, read_summary
from gradwatch.session.unpack import Content, Message, UnreadableError, Versions, file_head, read_versions, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Self

    from gradwatch.session.container import FileHead

LATE_STEPS = 2
"""Records of one type come in step order, except that one may come this many steps late."""

_RECENT_CHUNKS = 16
_LARGEST_RECENT_BYTES = 4 << 20
_TOPIC_OF: dict[type[Any], str] = {kind: topic for topic, kind in TOPICS.items()}

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a session that could not be read. `topic` is None where it is not known."""

    topic: str | None
    offset: int
    reason: str


class _WithId(msgspec.Struct):
    id: int


@dataclass(slots=True)
class _Places:
    """Chunk position and message of the records seen so far, by their `id`."""

    by_id: dict[int, tuple[int, Message]] = field(default_factory=dict[int, tuple[int, Message]])
    chunks_seen: int = 0


class SessionReader:
    """The records of the session file at `path`, which another process may still be writing.

    Raises SessionNotFound, NotASession, SessionVersionError or SessionDamaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._gaps: dict[tuple[int, int], Gap] = {}
        self._spans: dict[int, tuple[int, int] | None] = {}
        self._recent: OrderedDict[int, Content] = OrderedDict()
        self._places: dict[type[Any], _Places] = {}
        self._damaged: set[int] = set()
        self.complete = False
        """Whether summary and footer stand at the end, and fit."""
        self._source = _open(self.path)
        try:
            self.versions = _read_versions(self.path, self._source)
            self._scan, self.head = self._find_chunks()
            self._channels = {channel.topic: number for number, channel in self.head.channels.items()}
            self.run = self._read_run()
        except BaseException:
            self._source.close()
            raise

    @property
    def finished(self) -> bool:
        """Whether the file ends as one that was closed, or repaired, does."""
        return self._scan.ended

    @property
    def gaps(self) -> list[Gap]:
        """What could not be read so far, by offset. `verify` looks everywhere."""
        return [self._gaps[key] for key in sorted(self._gaps)]

    @property
    def index(self) -> ChunkIndex:
        return self._scan.index

    @property
    def source(self) -> FileBytes:
        return self._source

    @property
    def is_open(self) -> bool:
        return self._source.is_open

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """Offset and length of stretches that are no records, in an incomplete file."""
        return [(start, end - start) for start, end, _ in self._scan.lost]

    @property
    def end_of_records(self) -> int:
        """Offset of the first byte behind the last whole record of the data section."""
        return self._scan.position

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole record of an unfinished file: a write was cut short, or is under way."""
        return 0 if self.finished else self._source.size() - self._scan.position

    def records(self, record_type: type[R], start_ns: int | None = None, end_ns: int | None = None) -> Iterator[R]:
        """Every record of a type in file order, or those with start_ns <= time <= end_ns."""
        low = 0 if start_ns is None else start_ns
        high = (1 << 64) - 1 if end_ns is None else end_ns
        channel = self._channel(record_type)
        for position in range(self.index.count(channel)):
            entry = self.index.entry(channel, position)
            if entry.start_ns <= high and entry.end_ns >= low:
                for message, record in self._decoded(channel, entry, record_type):
                    if low <= message.time_ns <= high:
                        yield record

    def records_from_step(self, record_type: type[R], step: int) -> Iterator[R]:
        """Every record of a type that belongs to `step` or a later one, and some before them, in file order."""
        for position in range(self._first_chunk_of(self._channel(record_type), step), self.count(record_type)):
            yield from self.records_in_chunk(record_type, position)

    def records_in_chunk(self, record_type: type[R], position: int) -> Iterator[R]:
        """Every record in a type's chunk at `position`, of `count`; none where there is no such chunk."""
        channel = self._channel(record_type)
        if position < self.index.count(channel):
            for _, record in self._decoded(channel, self.index.entry(channel, position), record_type):
                yield record

    def records_of_step(self, record_type: type[R], step: int) -> list[R]:
        """Every record of a type that belongs to `step`, in file order; reads a few chunks around it."""
        channel = self._channel(record_type)
        found: list[R] = []
        for position in range(self._first_chunk_of(channel, step), self.index.count(channel)):
            span = self._span(channel, position)
            if span is None:
                continue
            if span[0] > step + LATE_STEPS:
                break
            if span[0] <= step <= span[1]:
                entry = self.index.entry(channel, position)
                found += [record for _, record in self._decoded(channel, entry, record_type, step)]
        return found

    def record_with_id(self, record_type: type[R], record_id: int) -> R | None:
        """Find the first record with this `id`; None when there is none. Others are not decoded whole."""
        places = self._places.setdefault(record_type, _Places())
        channel = self._channel(record_type)
        while record_id not in places.by_id and places.chunks_seen < self.index.count(channel):
            entry = self.index.entry(channel, places.chunks_seen)
            for message, found in self._decoded(channel, entry, _WithId):
                places.by_id.setdefault(found.id, (places.chunks_seen, message))
            places.chunks_seen += 1
        if record_id not in places.by_id:
            return None
        position, message = places.by_id[record_id]
        entry = self.index.entry(channel, position)
        content = self.read_chunk(entry)
        return None if content is None else self._record(entry, content, message, record_type)

    def last_step(self, record_type: type) -> int:
        """Highest step that a record of this type belongs to; -1 when there is none."""
        channel = self._channel(record_type)
        positions = range(self.index.count(channel) - 1, -1, -1)
        spans = (self._span(channel, position) for position in positions)
        readable = (span for span in spans if span is not None)
        return max((high for _, high in islice(readable, LATE_STEPS + 1)), default=-1)

    def count(self, record_type: type) -> int:
        """How many chunks hold records of this type."""
        return self.index.count(self._channel(record_type))

    def verify(self) -> list[Gap]:
        """Unpack and decode everything; return all gaps."""
        for record_type in _TOPIC_OF:
            for _ in self.records(record_type):
                pass
        return self.gaps

    def refresh(self) -> bool:
        """Take in what was appended since; whether something was.

        Raises SessionDamaged when the file has become shorter.
        """
        if self.finished:
            return False
        if self._source.size() < self._scan.position:
            raise SessionDamaged(self.path, "it has become shorter while it was open")
        before = self._scan.position, self._scan.ended
        self._damaged.clear()
        hop(self._source, self._scan)
        self._settle(self._scan, self.head.channels)
        return before != (self._scan.position, self._scan.ended)

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_chunk(self, entry: ChunkEntry, topic: str | None = None) -> Content | None:
        """Unpack a chunk; None, and a gap, when it is damaged."""
        content = self._recent.get(entry.offset)
        if content is None and entry.offset not in self._damaged:
            try:
                content = unpack(self._source, entry)
            except UnreadableError as error:
                self._damaged.add(entry.offset)
                self._gaps[entry.offset, 0] = Gap(topic, entry.offset, f"a chunk is damaged: {error}")
                return None
            self._remember(entry, content)
        return content

    def _remember(self, entry: ChunkEntry, content: Content) -> None:
        if entry.uncompressed > _LARGEST_RECENT_BYTES:
            return
        self._recent[entry.offset] = content
        if len(self._recent) > _RECENT_CHUNKS:
            self._recent.popitem(last=False)

    def _find_chunks(self) -> tuple[Scan, FileHead]:
        """Index the chunks: by the summary of a complete file, else by hopping."""
        size = self._source.size()
        summary = read_summary(self._source, size)
        if summary is not None:
            scan, data = summary
            with suppress(UnreadableError):
                head = file_head(self.versions, data)
                self._settle(scan, head.channels)
                self.complete = True
                return scan, head
        scan = Scan(self.versions.end, self.versions.end, ChunkIndex(), [], [])
        hop(self._source, scan)
        self._settle(scan, {})
        head = self._head_from_first_chunk(scan)
        self._settle(scan, head.channels)
        return scan, head

    def _head_from_first_chunk(self, scan: Scan) -> FileHead:
        for _, entry in scan.index.in_file_order():
            content = self.read_chunk(entry, "/run")
            if content is None:
                break
            try:
                return file_head(self.versions, content.data)
            except UnreadableError:
                break
        raise SessionDamaged(self.path, "the part that says what it holds is cut or does not unpack")

    def _settle(self, scan: Scan, channels: Mapping[int, object]) -> None:
        """File by their content chunks whose index is cut or names no channel of ours; list what is no record."""
        strays = [channel for channel in scan.index.channels if channel not in channels] if channels else []
        for entry in [*scan.unplaced, *(entry for channel in strays for entry in scan.index.remove(channel))]:
            content = self.read_chunk(entry)
            if content is not None and content.messages:
                scan.index.insert(content.messages[0].channel, replace(entry, messages=len(content.messages)))
        for offset, end, reason in scan.lost:
            self._gaps[offset, 0] = Gap(None, offset, f"{end - offset} bytes are skipped: {reason}")
        scan.unplaced.clear()

    def _read_run(self) -> Run:
        # The first chunk holds it, even where its index says otherwise.
        first = next(self.index.in_file_order(), None)
        found = None if first is None else next(self._decoded(self._channel(Run), first[1], Run), None)
        if found is None:
            raise SessionDamaged(self.path, "the record that says who recorded it is cut or does not unpack")
        return found[1]

    def _channel(self, record_type: type) -> int:
        return self._channels.get(_TOPIC_OF[record_type], -1)

    def _decoded(
        self, channel: int, entry: ChunkEntry, record_type: type[R], step: int | None = None
    ) -> Iterator[tuple[Message, R]]:
        """Decode a chunk's messages of one channel, or those of one step."""
        if channel < 0:
            return
        topic = self.head.channels[channel].topic
        content = self.read_chunk(entry, topic)
        if content is None:
            return
        if all(message.channel != channel for message in content.messages):
            self._gaps[entry.offset, 0] = Gap(topic, entry.offset, "a chunk is filed under the wrong topic")
        for message in content.messages:
            if message.channel == channel and step in (None, message.step):
                record = self._record(entry, content, message, record_type)
                if record is not None:
                    yield message, record

    def _record(self, entry: ChunkEntry, content: Content, message: Message, record_type: type[R]) -> R | None:
        """Decode a message; None, and a gap, when it does not fit its type, or nests deeper than Python goes."""
        try:
            record = decoder(record_type).decode(memoryview(content.data)[message.start : message.end])
            check_numbers(record)
            return record  # noqa: TRY300  # the else of a try reads worse
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            topic = self.head.channels[message.channel].topic
            self._gaps[entry.offset, message.start] = Gap(topic, entry.offset, f"a record is damaged: {error}")
            return None

    def _span(self, channel: int, position: int) -> tuple[int, int] | None:
        """Lowest and highest step in a chunk; None when it is damaged or empty."""
        entry = self.index.entry(channel, position)
        if entry.offset not in self._spans:
            content = self.read_chunk(entry, self.head.channels[channel].topic)
            steps = None if content is None else content.steps
            self._spans[entry.offset] = None if steps is None or steps[0] > steps[1] else steps
        return self._spans[entry.offset]

    def _first_chunk_of(self, channel: int, step: int) -> int:
        """Find, by halving, a chunk before which none can hold `step`."""
        low, high = 0, self.index.count(channel)
        while low < high:
            middle = (low + high) // 2
            probe, span = middle, self._span(channel, middle)
            while span is None and probe + 1 < high:
                probe += 1
                span = self._span(channel, probe)
            if span is None or span[1] >= step - LATE_STEPS:
                high = middle
            else:
                low = probe + 1
        return low


def _open(path: Path) -> FileBytes:
    try:
        return FileBytes(path)
    except FileNotFoundError:
        raise SessionNotFound(path) from None
    except IsADirectoryError:
        raise NotASession(path, why_no_session(path)) from None
    except OSError as error:
        raise NotASession(path, f"it cannot be opened ({error.strerror})") from error


def _read_versions(path: Path, source: FileBytes) -> Versions:
    try:
        versions = read_versions(source)
    except UnreadableError as error:
        raise NotASession(path, str(error)) from error
    if not 1 <= versions.format <= FORMAT_VERSION:
        raise SessionVersionError(path, versions.gradwatch, versions.format, __version__, FORMAT_VERSION)
    return versions

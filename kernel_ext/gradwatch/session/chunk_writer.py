"""Gathers encoded records by topic and appends them to the file as chunks. Runs on the writer's thread."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from gradwatch.records import TOPICS, Notice, Record, Run, Series, Step
from gradwatch.session.chunk_index import ChunkIndex
from gradwatch.session.container import CHANNEL_IDS, Entry, encode_chunk, encode_tail, new_head
from gradwatch.session.encoding import encode

_TOPIC_OF = {kind: topic for topic, kind in TOPICS.items()}
_CHUNK_BYTES = 1 << 20


class ChunkWriter:
    """What is to be written, by topic, and the index of what has been."""

    def __init__(self, run: Run) -> None:
        head, self._head = new_head()
        preamble = [*self._head.schemas, *self._head.channels.values()]
        first_chunk, place = encode_chunk(CHANNEL_IDS["/run"], [_entry(run, run.start_ns, 0)], preamble)
        self.opening = head + first_chunk
        """The first bytes of the file: everything up to the chunk that holds the Run record."""
        self._index = ChunkIndex()
        self._index.add(CHANNEL_IDS["/run"], replace(place, offset=len(head)))
        self._pending: defaultdict[str, list[Entry]] = defaultdict(list)
        self.pending_bytes = 0
        self._refused: set[type] = set()

    def add(self, record: Record, time_ns: int, step: int) -> bool:
        """Encode a record and keep it for the next flush; one that cannot be encoded becomes a notice, and False."""
        try:
            entry = _entry(record, time_ns, step)
        except Exception as error:  # noqa: BLE001  # a field of a wrong type must not end the recording
            if type(record) not in self._refused:
                self._refused.add(type(record))
                self.add(_refusal(record, error), time_ns, step)
            return False
        self._pending[_TOPIC_OF[type(record)]].append(entry)
        self.pending_bytes += len(entry.payload)
        return True

    def take_chunks(self, offset: int) -> list[bytes]:
        """Encode what is pending, each chunk to be appended whole in this order from `offset` on."""
        pending, self._pending, self.pending_bytes = self._pending, defaultdict(list), 0
        chunks: list[bytes] = []
        for topic in sorted(pending, key=CHANNEL_IDS.__getitem__):
            for entries in _groups(topic, pending[topic]):
                chunk, place = encode_chunk(CHANNEL_IDS[topic], entries)
                self._index.add(CHANNEL_IDS[topic], replace(place, offset=offset))
                chunks.append(chunk)
                offset += len(chunk)
        return chunks

    def tail(self, offset: int) -> bytes:
        """Encode summary and footer, to be appended at `offset`."""
        return encode_tail(offset, self._index, self._head)


def _entry(record: Record, time_ns: int, step: int) -> Entry:
    own_step = record.number if isinstance(record, Step) else getattr(record, "step", step)
    return Entry(max(time_ns, 0), min(max(own_step, 0), 0xFFFFFFFF), encode(record))


def _groups(topic: str, entries: list[Entry]) -> list[list[Entry]]:
    """Each group becomes a chunk: one part of a Series is read without unpacking another."""
    return [[entry] for entry in entries] if topic == _TOPIC_OF[Series] else _by_size(entries)


def _by_size(entries: list[Entry]) -> list[list[Entry]]:
    groups: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if size >= _CHUNK_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += len(entry.payload)
    return groups


def _refusal(record: Record, error: Exception) -> Notice:
    name = type(record).__name__
    return Notice(
        kind="recorder",
        text=f"{name} records could not be written ({type(error).__name__}: {error}); the session lacks them.",
        probe="writer",
    )

"""Writes a session with fewer steps, or with the details of some: a session file like any other.

What is of no single step is copied chunk by chunk, as it is; of what each step has, the chosen steps' messages are.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from gradwatch.errors import SessionDamaged, UsageError
from gradwatch.records import TOPICS, Backward, Gradients, Totals
from gradwatch.reporters.numbers import size
from gradwatch.session.chunk_index import ChunkIndex
from gradwatch.session.columns import as_array
from gradwatch.session.container import Entry, encode_chunk, encode_tail
from gradwatch.session.encoding import decoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from gradwatch.reporters.exports.source import Source
    from gradwatch.session.chunk_index import ChunkEntry
    from gradwatch.session.reader import SessionReader
    from gradwatch.session.unpack import Content, Message

DETAIL = ("/gradients", "/histograms", "/optimizer", "/held")
"""Topics with much of each step: only that of chosen steps is copied."""
PER_STEP = ("/steps", "/backward")
"""Little of each step: copied whole, but where steps were asked for."""
OVER_STEPS = ("/series", "/totals")
"""Of all steps together: left out where steps were asked for, since none of it could be of those alone."""
BY_ID = ("/graphs", "/ledgers")

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 6


class _WithId(msgspec.Struct):
    id: int


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """Of how many steps the copy has the details, and what the reader must be told."""

    steps: int
    notes: tuple[str, ...]


def copy_session(source: Source, path: Path, largest: int) -> SessionCopy:
    """Copy a session to `path`: whole where it fits in `largest` bytes, else with the details of fewer steps."""
    reader = source.session.reader
    taken = reader.source.size()
    numbers = source.numbers
    if source.steps is None and taken <= largest:
        shutil.copyfile(reader.path, path)
        return SessionCopy(len(numbers), ())
    wanted, written = _Wanted(source), taken
    share = _first_guess(reader, len(source.session.steps), largest)
    count = min(len(numbers), share) if source.steps is None or taken > largest else len(numbers)
    for _ in range(_ATTEMPTS):
        kept = wanted.choose(count)
        written = _write(reader, path, kept, set(numbers) if source.steps is not None else None)
        if written <= largest:
            return SessionCopy(len(kept), tuple(_notes(source, len(kept), len(numbers), (taken, largest))))
        count = max(1, min(count - 1, int(count * largest / written * 0.9)))
    raise UsageError(
        f"{reader.path} does not fit in a page: with the details of {count:,} steps it takes {written:,} bytes, "
        f"{largest:,} are the most.\nName fewer steps: --steps A:B"
    )


def _first_guess(reader: SessionReader, steps: int, largest: int) -> int:
    """How many steps' details may fit, going by the compressed sizes."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for channel, entry in reader.index.in_file_order():
        sizes[_topic(reader, channel)] += entry.length + entry.index_length
    details = sum(sizes[topic] for topic in (*DETAIL, *BY_ID))
    room = largest - (sum(sizes.values()) - details)
    return max(1, int(room / max(1.0, details / max(1, steps))))


def _notes(source: Source, kept: int, asked: int, sizes: tuple[int, int]) -> Iterator[str]:
    if source.steps is not None:
        yield f"Steps {source.steps[0]} to {source.steps[-1]} of {len(source.session.steps):,} are in this page."
    if kept < asked:
        taken, largest = map(size, sizes)
        has_series = source.steps is None and source.session.reader.count(Totals)
        curves = "Curves and timeline are of every step." if has_series else "Curves are of those steps only."
        yield (
            f"Of {kept:,} of {asked:,} steps the details are in this page: the session takes {taken}, a page "
            f"{largest} at most. They are spread evenly, with stops and non-finite gradients first. {curves} "
            "Others: gradwatch export --steps A:B"
        )


class _Wanted:
    """Which steps to keep first: the first and the last, those with stops, those with gradients that are not finite."""

    def __init__(self, source: Source) -> None:
        self._numbers = source.numbers
        known = set(self._numbers)
        first = {*self._numbers[:1], *self._numbers[-1:]}
        self._first = sorted((first | {stop.step for stop in source.session.stops}) & known)
        self._trouble = sorted(set(_nonfinite_steps(source)) & known)

    def choose(self, count: int) -> set[int]:
        """Return so many steps: half at most for what is special, the rest spread evenly."""
        if count >= len(self._numbers):
            return set(self._numbers)
        special = _spread(self._first, max(1, count // 2))
        special += _spread(self._trouble, max(0, count // 2 - len(special)))
        chosen = set(special)
        others = [number for number in self._numbers if number not in chosen]
        return chosen | set(_spread(others, count - len(chosen)))


def _spread(numbers: list[int], count: int) -> list[int]:
    if count >= len(numbers):
        return list(numbers)
    places: list[float] = np.linspace(0, len(numbers) - 1, max(0, count)).tolist()
    return [numbers[round(place)] for place in places]


def _nonfinite_steps(source: Source) -> Iterator[int]:
    """Steps with NaN or Inf in a parameter's gradient: by the totals where the session has them."""
    path, reader = source.session.path, source.session.reader
    if reader.count(Totals):
        for totals in reader.records(Totals):
            with source.losing_damaged():
                steps = as_array(totals.steps, path)
                yield from steps[as_array(totals.nonfinite, path, len(steps)) > 0].tolist()
        return
    for record in source.records(Gradients):
        with source.losing_damaged():
            if record.subject_kind == "parameter" and _count_nonfinite(record, path):
                yield record.step


def _count_nonfinite(record: Gradients, path: Path) -> int:
    columns: list[NDArray[np.float64]] = [
        as_array(record.columns[name], path).astype(np.float64) for name in ("nan", "inf") if name in record.columns
    ]
    return sum(int(np.count_nonzero(column)) for column in columns)


# Writing


def _write(reader: SessionReader, path: Path, kept: set[int], asked: set[int] | None) -> int:
    """Write the copy. `kept` are the steps with details, `asked` those that are there at all, None for every one."""
    with path.open("wb") as file:
        file.write(reader.source.read(0, reader.versions.end))
        copy = _Copy(reader, file)
        graphs, ledgers = _used(reader, kept)
        for channel, entry in reader.index.in_file_order():
            copy.take(channel, entry, (kept, asked, graphs, ledgers))
        copy.end()
        return file.tell()


def _used(reader: SessionReader, kept: set[int]) -> tuple[set[int], set[int]]:
    """Ids of the graphs and ledgers that the kept steps' backward calls refer to."""
    calls = [call for call in reader.records(Backward) if call.step in kept]
    return {call.graph for call in calls}, {call.ledger for call in calls}


class _Copy:
    """The file being written: whole chunks as they are, single messages put together by channel."""

    def __init__(self, reader: SessionReader, file: BinaryIO) -> None:
        self._reader = reader
        self._file = file
        self._index = ChunkIndex()
        self._pending: defaultdict[int, list[Entry]] = defaultdict(list)
        self._sizes: defaultdict[int, int] = defaultdict(int)

    def take(
        self, channel: int, entry: ChunkEntry, wanted: tuple[set[int], set[int] | None, set[int], set[int]]
    ) -> None:
        kept, asked, graphs, ledgers = wanted
        topic = _topic(self._reader, channel)
        if topic in OVER_STEPS and asked is not None:
            return
        if topic in DETAIL:
            self._add(channel, self._of_steps(entry, channel, kept))
        elif topic in PER_STEP and asked is not None:
            self._add(channel, self._of_steps(entry, channel, asked))
        elif topic in BY_ID:
            self._add(channel, self._of_ids(entry, channel, graphs if topic == "/graphs" else ledgers))
        else:
            self._as_it_is(channel, entry)

    def end(self) -> None:
        """Write what is pending, and the end that a finished file has where the session's has it."""
        for channel in sorted(self._pending):
            self._flush(channel)
        if self._reader.complete:
            self._file.write(encode_tail(self._file.tell(), self._index, self._reader.head))

    def _as_it_is(self, channel: int, entry: ChunkEntry) -> None:
        place = replace(entry, offset=self._file.tell())
        self._index.add(channel, place)
        self._file.write(self._reader.source.read(entry.offset, entry.length + entry.index_length))

    def _messages(self, entry: ChunkEntry, channel: int) -> Iterator[tuple[Content, Message]]:
        content = self._reader.read_chunk(entry)
        for message in content.messages if content is not None else ():
            if content is not None and message.channel == channel:
                yield content, message

    def _of_steps(self, entry: ChunkEntry, channel: int, steps: set[int]) -> Iterator[Entry]:
        for content, message in self._messages(entry, channel):
            if message.step in steps:
                yield _entry(content, message)

    def _of_ids(self, entry: ChunkEntry, channel: int, ids: set[int]) -> Iterator[Entry]:
        for content, message in self._messages(entry, channel):
            found = _entry(content, message)
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                if decoder(_WithId).decode(found.payload).id in ids:
                    yield found

    def _add(self, channel: int, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._pending[channel].append(entry)
            self._sizes[channel] += len(entry.payload)
            if self._sizes[channel] >= _CHUNK_BYTES:
                self._flush(channel)

    def _flush(self, channel: int) -> None:
        entries, self._pending[channel], self._sizes[channel] = self._pending[channel], [], 0
        if entries:
            chunk, place = encode_chunk(channel, entries)
            self._index.add(channel, replace(place, offset=self._file.tell()))
            self._file.write(chunk)


def _entry(content: Content, message: Message) -> Entry:
    return Entry(message.time_ns, message.step, content.data[message.start : message.end])


def _topic(reader: SessionReader, channel: int) -> str:
    found = reader.head.channels.get(channel)
    if found is None:
        raise SessionDamaged(reader.path, f"a chunk is of channel {channel}, which it does not name")
    return found.topic if found.topic in TOPICS else ""

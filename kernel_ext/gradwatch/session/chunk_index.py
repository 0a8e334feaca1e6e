"""Where every chunk of a session file lies, by channel, in compact columns.

A long run makes hundreds of thousands of chunks; an object for each would cost the training process
half a kilobyte a chunk. Writer, reader and repair share this.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk: byte `offset` and `length` of its record, its times in ns, and its sizes in bytes.

    `index_length` is that of the message index behind it, 0 where the file was cut before it.
    """

    offset: int
    length: int
    start_ns: int
    end_ns: int
    index_length: int
    compressed: int
    uncompressed: int
    messages: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind the chunk and its message index."""
        return self.offset + self.length + self.index_length


class ChunkIndex:
    """The chunks of one file by channel id, each channel's in file order."""

    def __init__(self) -> None:
        self._by_channel: dict[int, array[int]] = {}

    def add(self, channel: int, entry: ChunkEntry) -> None:
        column = self._by_channel.setdefault(channel, array("Q"))
        column.extend(
            (
                entry.offset,
                entry.length,
                entry.start_ns,
                entry.end_ns,
                entry.index_length,
                entry.compressed,
                entry.uncompressed,
                entry.messages,
            )
        )

    def insert(self, channel: int, entry: ChunkEntry) -> None:
        """Add a chunk where it belongs in file order, rather than at the end."""
        later = [other for other in self.entries(channel) if other.offset > entry.offset]
        if later:
            del self._by_channel[channel][-len(later) * _COLUMNS :]
        for other in (entry, *later):
            self.add(channel, other)

    def remove(self, channel: int) -> list[ChunkEntry]:
        """Forget a channel; return its chunks."""
        entries = list(self.entries(channel))
        self._by_channel.pop(channel, None)
        return entries

    @property
    def channels(self) -> list[int]:
        return sorted(self._by_channel)

    def count(self, channel: int) -> int:
        return len(self._by_channel.get(channel, ())) // _COLUMNS

    def entry(self, channel: int, position: int) -> ChunkEntry:
        start = position * _COLUMNS
        return ChunkEntry(*self._by_channel[channel][start : start + _COLUMNS])

    def entries(self, channel: int) -> Iterator[ChunkEntry]:
        return (self.entry(channel, position) for position in range(self.count(channel)))

    def in_file_order(self) -> Iterator[tuple[int, ChunkEntry]]:
        """Every chunk with its channel id, by offset."""
        places = [
            (column[row], channel, row // _COLUMNS)
            for channel, column in self._by_channel.items()
            for row in range(0, len(column), _COLUMNS)
        ]
        places.sort()
        return ((channel, self.entry(channel, position)) for _, channel, position in places)

    def __len__(self) -> int:
        return sum(self.count(channel) for channel in self._by_channel)

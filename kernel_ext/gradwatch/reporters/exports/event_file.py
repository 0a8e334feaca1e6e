"""TensorBoard's event files: length-framed, checksummed records of protobuf `Event` messages, written by hand.

Field numbers are those of tensorboard/compat/proto/{event,summary,histogram}.proto.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import IO, TYPE_CHECKING

from gradwatch.reporters.exports.crc32c import masked_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class EventFile:
    """Appends events to an open binary file."""

    def __init__(self, file: IO[bytes], wall_time: float) -> None:
        self._file = file
        self._append(_double(1, wall_time) + _bytes(3, b"brain.Event:2"))

    def add(self, wall_time: float, step: int, values: Iterable[bytes]) -> None:
        """Add an event with the values that `scalar` and `histogram` made."""
        summary = b"".join(_bytes(1, value) for value in values)
        self._append(_double(1, wall_time) + _key(2, _VARINT) + _varint(step) + _bytes(5, summary))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + struct.pack("<I", masked_crc32c(length)))
        self._file.write(event + struct.pack("<I", masked_crc32c(event)))


def scalar(tag: str, value: float) -> bytes:
    """Encode a value of a summary; beyond float32's range it is infinite, as TensorBoard has no more."""
    try:
        number = struct.pack("<f", value)
    except OverflowError:
        number = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _tag(tag) + _key(2, _FIXED32) + number


def histogram(tag: str, edges: Sequence[float], counts: Sequence[float]) -> bytes:
    """Encode counts between ascending edges, of which there is one more; sums take each bin's middle."""
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    content = (
        _double(1, edges[0])
        + _double(2, edges[-1])
        + _double(3, sum(counts))
        + _double(4, sum(count * middle for count, middle in zip(counts, middles, strict=True)))
        + _double(5, sum(count * middle**2 for count, middle in zip(counts, middles, strict=True)))
        + _bytes(6, struct.pack(f"<{len(counts)}d", *edges[1:]))
        + _bytes(7, struct.pack(f"<{len(counts)}d", *counts))
    )
    return _tag(tag) + _bytes(5, content)


def _tag(tag: str) -> bytes:
    return _bytes(1, tag.encode("utf-8", "replace"))


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _double(field: int, value: float) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<d", value)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    rest = value & 0xFFFFFFFFFFFFFFFF
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)

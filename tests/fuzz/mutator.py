"""Changes a session as a stranger could: its records, the chunks' sizes, and what is packed in them.

Lengths, checksums and indexes are put right again after most changes, so that they reach what reads the records.
The same bytes and the same random numbers give the same changes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import zstandard
from mcap.opcode import Opcode

from gradwatch.session.chunk_index import ChunkEntry, ChunkIndex
from gradwatch.session.container import CHUNK_HEAD, MAGIC, MESSAGE_HEAD, RECORD_HEAD, ZSTD, FileHead, encode_tail
from gradwatch.session.unpack import UnreadableError, declarations

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_FIXED = CHUNK_HEAD.size + len(ZSTD) + 8
_LARGEST_INPUT = 1 << 17
_MOST_RECORDS = 1000
_NUMBERS = (
    0,
    -1,
    1,
    2,
    127,
    255,
    1 << 15,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 53) + 1,
    1 << 63,
    (1 << 64) - 1,
)
_FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e308, 5e-324)
_TEXTS = (
    "",
    "\0",
    "../../etc/passwd",
    "</script><script>alert(1)</script>",
    "\x1b[31m[red]",
    "=1+1",
    "{0}%s",
    "\u202e\ufffe\U0010ffff",
    "parameter",
    "nodes",
    "x" * 70_000,
)
_DTYPES = ("<f4", "<f8", "<f2", "<u8", "<i8", "|u1", "|i1", "<u4", ">f4", "<c8", "|O", "<U9", "|V8", "f", "<f4,<f4", "")


@dataclass(slots=True)
class Piece:
    """A record of the file. A chunk has its unpacked `inner` records; `broken` bytes stand for the whole of it."""

    opcode: int
    content: bytes = b""
    inner: list[tuple[int, bytes]] | None = None
    claims: dict[str, int] = field(default_factory=dict[str, int])


def mutated(data: bytes, random: Random, others: list[bytes]) -> bytes:
    """Return `data` after one to four changes. What is no session any more only has its bytes changed."""
    pieces = _taken_apart(data)
    if not pieces or random.random() < 0.1:
        return _change_bytes(data, random, others)
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice(_CHANGES)(pieces, random, others)
    whole = _put_together(pieces, with_summary=random.random() < 0.5)
    changed = _change_bytes(whole, random, others) if random.random() < 0.1 else whole
    return changed if len(changed) <= _LARGEST_INPUT else data


# Apart and together


def _taken_apart(data: bytes) -> list[Piece]:
    """Every whole record in front of the data's end, chunks unpacked where they unpack."""
    pieces: list[Piece] = []
    position = len(MAGIC)
    while data.startswith(MAGIC) and position + RECORD_HEAD.size <= len(data):
        opcode, length = RECORD_HEAD.unpack_from(data, position)
        position += RECORD_HEAD.size
        content = data[position : position + length]
        position += length
        if len(content) < length or opcode in (Opcode.DATA_END, Opcode.FOOTER):
            break
        if opcode != Opcode.MESSAGE_INDEX:
            pieces.append(Piece(opcode, content, _unpacked(content) if opcode == Opcode.CHUNK else None))
    return pieces


def _unpacked(content: bytes) -> list[tuple[int, bytes]] | None:
    try:
        size = CHUNK_HEAD.unpack_from(content)[2]
        plain = zstandard.ZstdDecompressor().decompress(content[_FIXED:], max_output_size=min(size, _LARGEST_INPUT))
    except (struct.error, zstandard.ZstdError):
        return None
    records: list[tuple[int, bytes]] = []
    position = 0
    while position + RECORD_HEAD.size <= len(plain):
        opcode, length = RECORD_HEAD.unpack_from(plain, position)
        position += RECORD_HEAD.size
        records.append((opcode, plain[position : position + length]))
        position += length
        if len(records) > _MOST_RECORDS:
            return None
    return records


def _put_together(pieces: list[Piece], *, with_summary: bool) -> bytes:
    """Encode the pieces; with a summary that fits them, where they say which channels there are."""
    whole = MAGIC
    index = ChunkIndex()
    first: list[tuple[int, bytes]] = []
    for piece in pieces:
        if piece.inner is None:
            whole += RECORD_HEAD.pack(piece.opcode & 0xFF, piece.claims.get("record", len(piece.content)))
            whole += piece.content
            continue
        first = first or piece.inner
        chunk, channel, entry = _encoded_chunk(piece, len(whole))
        index.add(channel, entry)
        whole += chunk
    if not with_summary:
        return whole
    try:
        plain = b"".join(RECORD_HEAD.pack(opcode, len(content)) + content for opcode, content in first)
        schemas, channels = declarations(plain)
        return whole + encode_tail(len(whole), index, FileHead(schemas, channels, len(MAGIC), 9))
    except (UnreadableError, struct.error, ValueError):
        return whole


def _encoded_chunk(piece: Piece, offset: int) -> tuple[bytes, int, ChunkEntry]:
    """Encode a chunk and its message index, with the sizes it claims or its own."""
    claims = piece.claims
    plain, channel = bytearray(), 1
    messages: list[tuple[int, int]] = []
    for number, (opcode, content) in enumerate(piece.inner or []):
        if opcode == Opcode.MESSAGE and len(content) >= MESSAGE_HEAD.size:
            own, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
            channel = int(own)
            messages.append((time_ns, len(plain)))
        length = claims.get("inner", len(content)) if number == claims.get("inner_at", -1) else len(content)
        plain += RECORD_HEAD.pack(opcode & 0xFF, length) + content
    plain += bytes(claims.get("zeros", 0))
    channel = claims.get("channel", channel)
    places = b"".join(struct.pack("<QQ", time_ns, at) for time_ns, at in messages)
    packed = zstandard.compress(bytes(plain), 1)
    size = claims.get("size", len(plain))
    crc = claims.get("crc", zlib.crc32(plain))
    times = [time_ns for time_ns, _ in messages] or [0]
    head = (
        CHUNK_HEAD.pack(min(times), max(times), size, crc) + ZSTD + struct.pack("<Q", claims.get("packed", len(packed)))
    )
    chunk = RECORD_HEAD.pack(Opcode.CHUNK, claims.get("record", len(head) + len(packed))) + head + packed
    behind = struct.pack("<HI", channel & 0xFFFF, len(places)) + places
    behind = RECORD_HEAD.pack(Opcode.MESSAGE_INDEX, len(behind)) + behind
    entry = ChunkEntry(offset, len(chunk), min(times), max(times), len(behind), len(packed), size, len(messages))
    return chunk + behind, channel & 0xFFFF, entry


# Changes to bytes


def _change_bytes(data: bytes, random: Random, others: list[bytes]) -> bytes:
    """Flip, fill, cut, drop, double, or splice in another session."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3))):
        at, length = random.randrange(len(changed) + 1), random.choice((1, 4, 9, 200))
        kind = random.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at : at + length] = b"\xff" * len(changed[at : at + length])
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        else:
            other = random.choice(others)
            changed[at:] = other[random.randrange(len(other)) :]
    return bytes(changed)


# Changes to the container


def _move_pieces(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    at = random.randrange(len(pieces))
    kind = random.randrange(4)
    if kind == 0:
        del pieces[at]
        if not pieces:
            pieces.append(Piece(random.randrange(256)))
    elif kind == 1:
        pieces.insert(at, pieces[random.randrange(len(pieces))])
    elif kind == 2:
        other = random.randrange(len(pieces))
        pieces[at], pieces[other] = pieces[other], pieces[at]
    else:
        found = _taken_apart(random.choice(others))
        pieces.append(random.choice(found or pieces))


def _claim(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    """Let a record or a chunk say that it is larger, smaller, or of another channel than it is."""
    piece = random.choice(pieces)
    what = random.choice(("record", "size", "packed", "crc", "channel", "inner", "zeros"))
    limit = {"crc": 1 << 32, "channel": 1 << 16}.get(what, 1 << 64)
    piece.claims[what] = abs(random.choice(_NUMBERS)) % limit
    if what == "zeros":
        piece.claims[what] = random.choice((1, 9, 1 << 12, 1 << 20, 1 << 24))
    piece.claims["inner_at"] = random.randrange(4)


def _change_opcode(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    piece = random.choice(pieces)
    if piece.inner:
        at = random.randrange(len(piece.inner))
        piece.inner[at] = random.choice((0, 1, 3, 4, 5, 6, 0x0F, 0x80, 0xFF)), piece.inner[at][1]
    else:
        piece.opcode = random.randrange(256)


# Changes to messages


def _message_in(pieces: list[Piece], random: Random) -> tuple[list[tuple[int, bytes]], int] | None:
    """Choose a chunk's records, and which of them is a message; each topic is as likely as another."""
    chunks = [piece.inner for piece in pieces if piece.inner]
    random.shuffle(chunks)
    for inner in chunks:
        places = [
            at for at, (_, content) in enumerate(inner) if len(content) > MESSAGE_HEAD.size and _ == Opcode.MESSAGE
        ]
        if places:
            return inner, random.choice(places)
    return None


def _change_message_head(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    """Another channel, step or time; or the message twice."""
    found = _message_in(pieces, random)
    if found is None:
        return
    inner, at = found
    opcode, content = inner[at]
    channel, step, time_ns, published = MESSAGE_HEAD.unpack_from(content)
    kind = random.randrange(4)
    if kind == 0:
        channel = random.randrange(24)
    elif kind == 1:
        step = abs(random.choice(_NUMBERS)) % (1 << 32)
    elif kind == 2:
        time_ns = abs(random.choice(_NUMBERS)) % (1 << 64)
    else:
        inner.insert(at, inner[at])
    inner[at] = opcode, MESSAGE_HEAD.pack(channel, step, time_ns, published) + content[MESSAGE_HEAD.size :]


def _change_payload(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    """Change the record's values, and pack it again as it should be."""
    found = _message_in(pieces, random)
    if found is None:
        return
    inner, at = found
    opcode, content = inner[at]
    try:
        record = msgspec.msgpack.decode(content[MESSAGE_HEAD.size :])
        for _ in range(random.choice((1, 1, 2))):
            record = _changed_value(record, random, 0)
        payload = msgspec.msgpack.encode(record)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return
    inner[at] = opcode, content[: MESSAGE_HEAD.size] + payload


def _change_packed(pieces: list[Piece], random: Random, others: list[bytes]) -> None:
    """Change the packed bytes themselves: counts of what is not there, texts that are none, deep nesting."""
    found = _message_in(pieces, random)
    if found is None:
        return
    inner, at = found
    opcode, content = inner[at]
    payload = bytearray(content[MESSAGE_HEAD.size :])
    place = random.randrange(len(payload) + 1)
    heads = (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\x7f\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc1",
    )
    other = (b"\xa3\xff\xfe\xfd", b"\x91" * 50_000, b"\x81\xa1x" * 20_000, b"\xcf" + b"\xff" * 8, b"\xc7\x08\x01")
    payload[place : place + random.randrange(6)] = random.choice(heads + other)
    inner[at] = opcode, content[: MESSAGE_HEAD.size] + bytes(payload)


def _changed_value(value: Any, random: Random, depth: int) -> Any:
    """Go down to a value at random and put another in its place, of its own kind or not."""
    if isinstance(value, dict) and value and (depth == 0 or random.random() < 0.9):
        return _changed_map(dict(value), random, depth)
    if isinstance(value, list) and value and random.random() < 0.9:
        return _changed_list(list(value), random, depth)
    return _another(value, random)


def _changed_map(value: dict[Any, Any], random: Random, depth: int) -> dict[Any, Any]:
    key = random.choice(list(value))
    kind = random.random()
    if kind < 0.05:
        del value[key]
    elif kind < 0.08:
        value[random.choice(_TEXTS)] = value[key]
    elif kind < 0.3 and isinstance(value.get("data"), bytes):
        _change_column(value, random)
    else:
        value[key] = _changed_value(value[key], random, depth + 1)
    return value


def _changed_list(value: list[Any], random: Random, depth: int) -> list[Any]:
    at = random.randrange(len(value))
    kind = random.random()
    if kind < 0.1:
        del value[at]
    elif kind < 0.3:
        value.insert(at, value[random.randrange(len(value))])
    elif kind < 0.35:
        value *= random.choice((3, 300))
    else:
        value[at] = _changed_value(value[at], random, depth + 1)
    return value


def _change_column(column: dict[Any, Any], random: Random) -> None:
    """Other numbers, another length, or another dtype over the same bytes."""
    data: bytes = column["data"]
    kind = random.randrange(5)
    if kind == 0:
        column["dtype"] = random.choice(_DTYPES)
    elif kind == 1:
        column["data"] = data[: random.randrange(len(data) + 1)]
    elif kind == 2:
        column["data"] = data * random.choice((2, 3, 64))
    elif kind == 3:
        column["data"] = bytes(random.choice((0, 1, 0x7F, 0x80, 0xFF)) for _ in data)
    else:
        size = random.choice((1, 4, 8))
        at = random.randrange(len(data) // size + 1) * size
        number = (random.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
        column["data"] = data[:at] + number + data[at + size :]


def _another(value: Any, random: Random) -> Any:
    if random.random() < 0.25:  # of another kind
        return random.choice((None, True, -1, 2**63, 0.5, "text", b"bytes", [], {}, [[]], {"": None}, _deep(random)))
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return random.choice((*_NUMBERS, value + 1, value - 1, -value, value ^ 1 << random.randrange(31)))
    others: dict[type, tuple[Any, ...]] = {
        float: _FLOATS,
        str: (*_TEXTS, *_DTYPES, str(value) * 2, str(value)[:1]),
        bytes: (b"", bytes(1 << 16), b"\xff" * 7) + ((value * 2, value[:-1]) if isinstance(value, bytes) else ()),
    }
    return random.choice(others.get(type(value), (-1, "x", [], {})))


def _deep(random: Random) -> Any:
    value: Any = []
    for _ in range(random.choice((3, 100, 600))):
        value = [value]
    return value


_CHANGES: tuple[Callable[[list[Piece], Random, list[bytes]], None], ...] = (
    *[_change_payload] * 8,
    *[_change_packed] * 2,
    *[_change_message_head] * 2,
    _move_pieces,
    _claim,
    _change_opcode,
)
"""What is read record by record is changed most: there most is believed."""

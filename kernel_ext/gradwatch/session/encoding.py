"""Records to MessagePack and back, and what a record weighs in memory."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from gradwatch.records import Column, Record

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE_WEIGHT = 500  # bytes of a record beside its arrays and texts, about

R = TypeVar("R")


def _as_plain(value: Any) -> Any:
    """Take numpy's scalars, and whatever else knows its plain value, for what they stand for."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"a {type(value).__name__} does not belong in a record")
    return item()


_encoder = msgspec.msgpack.Encoder(enc_hook=_as_plain)


_decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {}


def decoder(kind: type[R]) -> msgspec.msgpack.Decoder[R]:
    """Return the decoder of one record type: unknown fields are ignored, absent ones take their default."""
    if kind not in _decoders:
        _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return _decoders[kind]


_integers: dict[type, Callable[[Any], tuple[int, ...]]] = {}


def check_numbers(record: object) -> None:
    """Raise OverflowError where a record's own integers (not those in its lists) exceed 64 bits with a sign."""
    kind = type(record)
    if kind not in _integers:
        names = [entry.name for entry in fields(kind) if entry.type in ("int", int)] if is_dataclass(kind) else []
        _integers[kind] = _getter(names)
    largest = max(_integers[kind](record), default=0)
    if largest >= 1 << 63:
        raise OverflowError(f"{largest} is no number of this format")


def _getter(names: list[str]) -> Callable[[Any], tuple[int, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def encode(record: Record) -> bytes:
    """Encode a record as a map from field name to value.

    Text that is not valid Unicode (file names can hold any byte) has its odd characters replaced.
    Raises TypeError or ValueError for values that MessagePack cannot hold.
    """
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        return _encoder.encode(_with_valid_text(record))


def weight(record: Record) -> int:
    """Bytes that a record keeps in memory, about: its columns and long texts are counted, the rest is a guess."""
    total = _BASE_WEIGHT
    for name in record.__slots__:
        value: Any = getattr(record, name)
        if isinstance(value, Column):
            total += len(value.data)
        elif isinstance(value, str):
            total += len(value)
        elif isinstance(value, dict):
            total += sum(len(column.data) for column in cast("dict[str, Column]", value).values())
    return total


def _with_valid_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_with_valid_text(entry) for entry in cast("list[Any]", value)]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{entry.name: _with_valid_text(getattr(value, entry.name)) for entry in fields(value)})
    return value

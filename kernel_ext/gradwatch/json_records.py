"""Records to JSON and back: what a debugger asks and is answered travels as text.

A column's bytes stand in base64, and a float that is not finite as null: JSON has no word for it.
Standard library only.
"""

from __future__ import annotations

import json
import math
import types
import zlib
from base64 import b64decode, b64encode
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gradwatch.errors import UsageError
from gradwatch.records import Column, Parameter, Site, Variable

R = TypeVar("R")

_NONE = object()
_SHORTENED: frozenset[Any] = frozenset({Parameter, Site, Variable})
"""Records that come by the thousand: fields with their default's value are left out, as readers must expect."""

PACKED = "deflate:"
PACKED_FROM = 32_768
"""Below this an answer is on its way sooner than it is packed."""


def to_json(kind: str, value: object) -> str:
    """The answer `{"kind": kind, "value": value}`; `value` is a record, or a list of records."""
    answer = {"kind": kind, "value": value}
    try:
        return _dumps(answer)
    except ValueError:  # a float that is not finite
        return _dumps(_without_nonfinite(answer))


def packed(text: str) -> str:
    """The text deflated, in base64 behind the word PACKED; shorter texts than PACKED_FROM stay as they are."""
    if len(text) < PACKED_FROM:
        return text
    return PACKED + b64encode(zlib.compress(text.encode(), 1)).decode("ascii")


def _dumps(value: object) -> str:
    return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> object:
    """What the encoder does not know: columns, records, and numpy's scalars."""
    kind: Any = value.__class__
    if kind is Column:
        return {"dtype": value.dtype, "data": b64encode(value.data).decode("ascii")}
    if kind in _SHORTENED:
        defaults = _defaults(kind)
        return {name: held for name in _names(kind) if (held := getattr(value, name)) != defaults.get(name, _NONE)}
    if is_dataclass(kind):
        return {name: getattr(value, name) for name in _names(kind)}
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"a {type(value).__name__} does not belong in a record")
    return item()


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    with_factory = {each.name: each.default_factory() for each in fields(kind) if each.default_factory is not MISSING}
    return {**with_factory, **{each.name: each.default for each in fields(kind) if each.default is not MISSING}}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item) for item in cast("list[Any]", value)]
    if value is None or isinstance(value, (str, int)):
        return value
    return _without_nonfinite(_plain(value))


def record_from(kind: type[R], plain: object) -> R:
    """The record that parsed JSON stands for. Unknown fields are ignored, absent ones take their default.

    Raises UsageError that names the record and the field which does not fit.
    """
    if not isinstance(plain, dict):
        raise UsageError(f"a {kind.__name__} is an object with fields, not {_shown(plain)}")
    given = cast("dict[str, Any]", plain)
    values: dict[str, Any] = {}
    for name, (hint, is_required) in _hints(kind).items():
        if name in given:
            values[name] = _value(hint, given[name], f"{kind.__name__}.{name}")
        elif is_required:
            raise UsageError(f"a {kind.__name__} lacks the field {name!r}")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind)
    return {
        each.name: (hints[each.name], each.default is MISSING and each.default_factory is MISSING)
        for each in fields(kind)
    }


def _value(hint: Any, plain: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        return _value(next(each for each in arguments if each is not type(None)), plain, where)
    if origin is Literal:
        return _checked(plain in arguments, plain, where, f"one of {', '.join(map(repr, arguments))}")
    if origin is list:
        items = _checked(isinstance(plain, list), plain, where, "a list")
        return [_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items)]
    if origin is dict:
        pairs = _checked(isinstance(plain, dict), plain, where, "an object")
        return {key: _value(arguments[1], item, f"{where}[{key!r}]") for key, item in pairs.items()}
    return _scalar(hint, plain, where)


def _scalar(hint: Any, plain: Any, where: str) -> Any:
    if hint is Column:
        return _column(plain, where)
    if is_dataclass(hint):
        return record_from(cast("type[Any]", hint), plain)
    if hint is float:
        if plain is None:  # what a float that is not finite became
            return math.nan
        number = isinstance(plain, (int, float)) and not isinstance(plain, bool)
        return float(_checked(number, plain, where, "a number"))
    fits = isinstance(plain, hint) and (hint is bool or not isinstance(plain, bool))
    return _checked(fits, plain, where, f"of type {hint.__name__}")


def _column(plain: Any, where: str) -> Column:
    try:
        return Column(plain["dtype"], b64decode(plain["data"], validate=True))
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{where} is {_shown(plain)}; it must be a column with dtype and data") from None


def _checked(fits: bool, plain: Any, where: str, what: str) -> Any:  # noqa: FBT001  # what was found, not a flag
    if not fits:
        raise UsageError(f"{where} is {_shown(plain)}; it must be {what}")
    return plain


def _shown(plain: object) -> str:
    text = repr(plain)  # of parsed JSON: nobody's code runs
    return text if len(text) <= 80 else f"{text[:77]}..."

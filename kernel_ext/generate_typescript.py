"""Writes vscode-extension/shared/session.ts and recorded_fields.ts from gradwatch/records.py: run `make contract`.

Columns become `Column`, whose bytes TypeScript views without a copy; 64-bit integers in plain fields are
JavaScript numbers, exact to 2^53 (times in ns since the epoch are above it and are typed `bigint | number`).
"""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent
TARGET = ROOT.parent / "vscode-extension" / "shared" / "session.ts"
FIELDS_TARGET = TARGET.with_name("recorded_fields.ts")
sys.path.insert(0, str(ROOT))

from gradwatch import records  # noqa: E402  # the package may not be installed yet

HEADER = """\
// Generated from kernel_ext/gradwatch/records.py by `make contract`. Do not edit.
// A session holds one MCAP channel per record type; each message is one MessagePack map.
"""
FIELDS_HEADER = """\
// Generated from kernel_ext/gradwatch/records.py by `make contract`. Do not edit.
// What each field of a record in a file must be: what a stranger's file holds is read by these, not believed.

/** `time` is an int that may pass 2^53. Of a string that is none of these words: the record of that name. */
export type Shape =
  | string
  | { readonly list: Shape }
  | { readonly map: Shape }
  | { readonly maybe: Shape }
  | { readonly words: readonly string[] };

"""
SHAPES = {str: "str", int: "int", float: "float", bool: "bool", bytes: "bytes"}
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", bytes: "Uint8Array", type(None): "null"}


def typescript() -> str:
    """The text of session.ts."""
    parts = [HEADER, _constants(), *map(_interface, _dataclasses()), _topics()]
    return "\n".join(parts)


def recorded_fields() -> str:
    """The text of recorded_fields.ts: the fields of each record in files, "?" behind those with a default."""
    names = {record.__name__ for record in records.TOPICS.values()}
    needed = [record for record in _dataclasses() if record.__name__ in names or record.__name__ in _parts_of(names)]
    lines = [f"  {record.__name__}: {{ {', '.join(_shapes(record))} }}," for record in needed]
    topics = [f'  "{topic}": "{record.__name__}",' for topic, record in records.TOPICS.items()]
    return "\n".join(
        [
            f"{FIELDS_HEADER}/** By record and field. */",
            "export const FIELDS: Readonly<Record<string, Readonly<Record<string, Shape>>>> = {",
            *lines,
            "};\n\n/** The record of each topic. */",
            "export const RECORD_OF = {",
            *topics,
            "} as const;\n",
        ]
    )


def _parts_of(names: set[str]) -> set[str]:
    """Names of the records that stand inside those of the given names."""
    texts = [shape for record in _dataclasses() if record.__name__ in names for shape in _shapes(record)]
    return {record.__name__ for record in _dataclasses() if any(f'"{record.__name__}"' in text for text in texts)}


def _shapes(record: type) -> list[str]:
    hints = get_type_hints(record)
    return [_shape_of_field(field, hints[field.name]) for field in dataclasses.fields(record)]


def _shape_of_field(field: dataclasses.Field[Any], hint: Any) -> str:
    optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    shape = '"time"' if field.name.endswith("_ns") and hint is int else _shape(hint)
    return f'"{field.name}?": {shape}' if optional else f"{field.name}: {shape}"


def _shape(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        words = ", ".join(f'"{value}"' for value in arguments)
        return f"{{ words: [{words}] }}"
    if origin in (Union, types.UnionType):
        return f"{{ maybe: {_shape(next(argument for argument in arguments if argument is not type(None)))} }}"
    if origin is list:
        return f"{{ list: {_shape(arguments[0])} }}"
    if origin is dict:
        return f"{{ map: {_shape(arguments[1])} }}"
    return f'"{SHAPES.get(hint) or hint.__name__}"'


def _dataclasses() -> list[type]:
    found = [value for value in vars(records).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]
    return [value for value in found if value.__module__ == records.__name__]


def _constants() -> str:
    classes = ", ".join(f'"{name}"' for name in records.TENSOR_CLASSES)
    states = ", ".join(f'"{name}"' for name in records.GRADIENT_STATES)
    nodes = ", ".join(f'"{name}"' for name in records.NODE_STATES)
    phases = ", ".join(f'"{name}"' for name in records.COMPILED_PHASES)
    statistics = ", ".join(f'{name}: "{dtype}"' for name, dtype in records.STATISTIC_DTYPES.items())
    series = ", ".join(f'"{name}"' for name in records.SERIES_STATISTICS)
    return (
        f"export const FORMAT_VERSION = {records.FORMAT_VERSION};\n"
        f"export const HISTOGRAM_BINS = {records.HISTOGRAM_BINS};\n"
        f"export const HISTOGRAM_LOWEST_EXPONENT = {records.HISTOGRAM_LOWEST_EXPONENT};\n"
        f"export const TENSOR_CLASSES = [{classes}] as const;\n"
        f"export const GRADIENT_STATES = [{states}] as const;\n"
        f"export const NODE_STATES = [{nodes}] as const;\n"
        f"export const COMPILED_PHASES = [{phases}] as const;\n"
        f"export const STATISTIC_DTYPES = {{ {statistics} }} as const;\n"
        f"export const SERIES_STATISTICS = [{series}] as const;\n"
    )


def _interface(record: type) -> str:
    hints = get_type_hints(record)
    lines = [f"/** {_first_sentence(record)} */", f"export interface {record.__name__} {{"]
    lines += [f"  {_field(field, hints[field.name])};" for field in dataclasses.fields(record)]
    return "\n".join([*lines, "}\n"])


def _field(field: dataclasses.Field[Any], hint: Any) -> str:
    # A field with a default came later, or is left out where it says nothing: readers must expect that.
    optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    kind = "bigint | number" if field.name.endswith("_ns") and hint is int else _type(hint)
    return f"{field.name}{'?' if optional else ''}: {kind}"


def _type(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_type(argument) for argument in arguments)
    if origin is list:
        item = _type(arguments[0])
        return f"readonly ({item})[]" if " " in item else f"readonly {item}[]"
    if origin is dict:
        return f"Readonly<Record<{_type(arguments[0])}, {_type(arguments[1])}>>"
    return PLAIN.get(hint) or hint.__name__


def _first_sentence(record: type) -> str:
    return " ".join((record.__doc__ or "").split("\n\n")[0].split())


def _topics() -> str:
    lines = [f'  "{topic}": {record.__name__};' for topic, record in records.TOPICS.items()]
    return "\n".join(["/** The record type of each topic. */", "export interface Topics {", *lines, "}", ""])


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(typescript(), encoding="utf-8")
    FIELDS_TARGET.write_text(recorded_fields(), encoding="utf-8")

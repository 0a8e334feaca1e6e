"""Interns places in the user's source as site ids, and keeps the texts of the files they lie in.

The line clock and the call sites make raw keys (plain integers) while the program runs; only keys that
a node or a saved tensor refers to become sites here, and only files with sites are read.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
import tokenize
import weakref
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from gradwatch.capture.origins import MACHINERY, PROJECT, Origins
from gradwatch.records import Site, SourceFile

if TYPE_CHECKING:
    from types import CodeType

    import numpy as np
    import numpy.typing as npt

UNKNOWN = -1
"""The raw key, and the site id, of no known place."""

# NOTE [Raw keys]
# A raw key is the code object's number << 34 | kind << 32 | position: 29 bits of numbers and 32 of positions in
# an int64. Not id(code) << 20, as addresses leave no room for the position in 63 bits. Kind 0 is a line number;
# the other two are instruction offsets in bytes (f_lasti), which cost less to read than a line number.
_NUMBER_SHIFT = 34
_POSITION_MASK = (1 << 32) - 1
_KIND_MASK = 3 << 32
LINE = 0
"""The position is a line."""
CALL = 1 << 32
"""The position is an instruction; its line and columns are the place."""
LINE_OF_INSTRUCTION = 2 << 32
"""The position is an instruction; the line it lies on is the place."""

MAX_SOURCE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the user's source, as a site names it."""

    file: str
    function: str
    line: int
    column: int = -1
    end_line: int = -1
    end_column: int = -1


class SiteTable:
    """Numbers code objects, turns raw keys into site ids, and hands out sites and sources as they appear.

    `project_keys` and `library_keys` map `id(code)` to the raw key of line 0 of that code; they are
    open so that hot paths can look a code object up without a call. Methods may be called from any thread.
    """

    def __init__(self, origins: Origins | None = None) -> None:
        self.origins = Origins() if origins is None else origins
        self.project_keys: dict[int, int] = {}
        self.library_keys: dict[int, int] = {}
        self._codes: dict[int, CodeType] = {}
        self._numbers: dict[tuple[str, CodeType], int] = {}
        self._next_number = count()
        self._duplicates: dict[int, weakref.ref[CodeType]] = {}
        self._ids_by_key: dict[int, int] = {}
        self._ids_by_place: dict[Place, int] = {}
        self._next_id = count()
        self._files: set[str] = set()
        self._new_sites: list[Site] = []
        self._new_files: list[str] = []
        # Reentrant: a finalizer or a signal handler of the program may come back here on the same thread.
        self._lock = RLock()

    def is_user_code(self, code: CodeType) -> bool:
        """Return whether the code is the user's or a library's: not torch, standard library or a tool."""
        return self.origins[code.co_filename] != MACHINERY

    def is_project_code(self, code: CodeType) -> bool:
        """Return whether the code is the user's own: user code that is not installed in site-packages."""
        return self.origins[code.co_filename] == PROJECT

    def code_key(self, code: CodeType) -> int:
        """Return the raw key of line 0 of a code object; add a line, or a kind and an offset, to it."""
        key = self.project_keys.get(id(code))
        if key is None:
            key = self.library_keys.get(id(code))
        return self._register(code) if key is None else key

    def codes(self) -> list[CodeType]:
        """Return all numbered code objects that are alive."""
        duplicates = [reference() for reference in list(self._duplicates.values())]
        return [*list(self._codes.values()), *(code for code in duplicates if code is not None)]

    def site(self, key: int) -> int:
        """Return the site id of a raw key, a new one at its first use; UNKNOWN stays UNKNOWN."""
        if key < 0:
            return UNKNOWN
        site = self._ids_by_key.get(key)
        if site is None:
            with self._lock:
                site = self._ids_by_key[key] = self._intern(key)
        return site

    def site_ids(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the site ids of an array of raw keys, in its order."""
        import numpy as np  # noqa: PLC0415  the line clock loads this file where numpy is absent

        distinct, inverse = np.unique(keys, return_inverse=True)
        ids = np.array([self.site(int(key)) for key in distinct], dtype=np.int32)
        return ids[inverse]

    def new_sites(self) -> list[Site]:
        """Return the sites made since the last call, by ascending id."""
        with self._lock:
            sites, self._new_sites = self._new_sites, []
        return sites

    def new_sources(self) -> list[SourceFile]:
        """Return the texts of files that got their first site since the last call.

        Files that cannot be read, or exceed MAX_SOURCE_BYTES, are left out.
        """
        with self._lock:
            files, self._new_files = self._new_files, []
        texts = ((file, source_text(file)) for file in files)
        return [_source_file(file, text) for file, text in texts if text is not None]

    def _register(self, code: CodeType) -> int:
        """Give a code object its number, without a lock: a monitoring callback may interrupt anything.

        Equal ones (eval of the same text again and again) share a number; the first is kept alive, so that
        its positions can be read later, and the others are forgotten when they die and their ids get reused.
        """
        keys = self.project_keys if self.is_project_code(code) else self.library_keys
        value = (code.co_filename, code)
        number = self._numbers.get(value)
        if number is None:
            number = next(self._next_number)
            self._codes[number] = code
            self._numbers[value] = number
        else:
            self._follow_duplicate(code, keys)
        key = keys[id(code)] = number << _NUMBER_SHIFT
        return key

    def _follow_duplicate(self, code: CodeType, keys: dict[int, int]) -> None:
        address = id(code)

        def forget(_: weakref.ref[CodeType]) -> None:
            keys.pop(address, None)
            self._duplicates.pop(address, None)

        self._duplicates[address] = weakref.ref(code, forget)

    def site_at(self, place: Place) -> int:
        """Return the site id of a place that is known without its code: a compiler's stack traces are text."""
        with self._lock:
            return self._intern_place(place)

    def places(self) -> dict[int, Place]:
        """Return the place of every site id so far."""
        with self._lock:
            return {site: place for place, site in self._ids_by_place.items()}

    def _intern(self, key: int) -> int:
        return self._intern_place(self.place(key))

    def _intern_place(self, place: Place) -> int:
        known = self._ids_by_place.get(place)
        if known is not None:
            return known
        site = self._ids_by_place[place] = next(self._next_id)
        self._new_sites.append(
            Site(site, place.file, place.line, place.function, place.column, place.end_line, place.end_column)
        )
        if place.file not in self._files:
            self._files.add(place.file)
            self._new_files.append(place.file)
        return site

    def place(self, key: int) -> Place:
        code, position = self._codes[key >> _NUMBER_SHIFT], key & _POSITION_MASK
        file, function = self.origins.absolute(code.co_filename), _function_name(code)
        kind = key & _KIND_MASK
        if kind == CALL:
            return Place(file, function, *_span_of_instruction(code, position))
        return Place(file, function, position if kind == LINE else _line_of_instruction(code, position))


def source_text(file: str) -> str | None:
    """Return a file's text: from disk, else as linecache knows it (notebook cells, prompts, zip archives)."""
    if not Path(file).is_file():  # neither a name in brackets nor a pipe, whose reading could block
        text = "".join(linecache.getlines(file, _globals_of_module_at(file)))
    elif Path(file).stat().st_size > MAX_SOURCE_BYTES:
        return None
    else:
        text = _decoded(file)
    return text if 0 < len(text) <= MAX_SOURCE_BYTES else None


def _decoded(file: str) -> str:
    try:
        with tokenize.open(file) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeError):  # not ours to read, or not what it declares to be
        return ""


def _globals_of_module_at(file: str) -> dict[str, object] | None:
    """Return the globals of the module loaded from a file, whose loader can read it out of an archive."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == file:
            return vars(module)
    return None


def _source_file(file: str, text: str) -> SourceFile:
    return SourceFile(file, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), text)


def _function_name(code: CodeType) -> str:
    return str(getattr(code, "co_qualname", code.co_name))  # co_qualname: Python 3.11


def _line_of_instruction(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def _span_of_instruction(code: CodeType, offset: int) -> tuple[int, int, int, int]:
    """Return line, column, end line and end column; columns are -1 on 3.10 and under -X no_debug_ranges."""
    if sys.version_info >= (3, 11):
        line, end_line, column, end_column = next(islice(code.co_positions(), offset // 2, None), (None,) * 4)
        if line is not None and column is not None:
            return line, column, end_line or line, -1 if end_column is None else end_column
    return _line_of_instruction(code, offset), -1, -1, -1

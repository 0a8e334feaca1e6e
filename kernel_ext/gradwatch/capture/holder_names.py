"""Goes from a tensor through what refers to it, nearest first, to a name that a person knows: `trainer.losses[37]`."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass
from types import CellType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture.frame_names import OUT, FrameNames, last_traceback_frames, module_of, referrers
from gradwatch.capture.names import readable_locals
from gradwatch.capture.origins import MACHINERY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradwatch.capture.origins import Origins

MAX_DEPTH = 7
MAX_FRONTIER = 24
MAX_ITEMS = 200_000
"""Items of one container that are looked through for what it holds."""

HOOK_TABLES = "_hooks"
"""How the tables end in which modules, tensors and optimizers keep their hooks."""


@dataclass(frozen=True, slots=True)
class NamedHolder:
    """A chain to a name, its kind as a Holder has it, and the file and line that the name stands in ("" unknown)."""

    chain: str
    kind: str
    file: str = ""
    line: int = -1
    function: str = ""


@dataclass(frozen=True, slots=True)
class _Link:
    """Something met on the way up: what of it leads down to the tensor, as text. A dict's key waits for its owner."""

    thing: Any
    chain: str = ""
    kind: str = ""
    key: Any = None
    has_key: bool = False

    @property
    def text(self) -> str:
        return f"[{_key_text(self.key)}]{self.chain}" if self.has_key else self.chain


class HolderNames:
    """Names of what holds tensors, for one look. `ours` are objects of the look itself, by identity."""

    def __init__(self, origins: Origins, ours: set[int]) -> None:
        self._origins = origins
        self._ours = ours
        self._frames = FrameNames(origins)
        self._last_frames = last_traceback_frames()

    def has_name(self, thing: Any) -> bool:
        """Whether running code has a variable that is this object."""
        return self._frames.of(thing) is not None

    def is_programs(self, thing: Any) -> bool:
        """Whether a referrer is the program's: not a frame that runs, nor one of ours."""
        return type(thing) is not _Link and not (isinstance(thing, FrameType) and self._skips(thing))

    def of(self, thing: Any) -> NamedHolder | None:
        """The nearest name that reaches a tensor; None where none was found."""
        links, seen = [_Link(thing)], {id(thing)}
        for _ in range(MAX_DEPTH):
            for link in links:
                named = self._named(link)
                if named is not None:
                    return named
            found = self._above(links, seen)
            if isinstance(found, NamedHolder):
                return found
            links = found[:MAX_FRONTIER]
            if not links:
                return None
        return None

    def _named(self, link: _Link) -> NamedHolder | None:
        named = self._frames.of(link.thing)
        if named is None:
            return None
        kind = link.kind or ("attribute" if "." in link.text else named.kind)
        return NamedHolder(named.name + link.text, kind, named.file, named.line, named.function)

    def _above(self, links: list[_Link], seen: set[int]) -> list[_Link] | NamedHolder:
        things = [link.thing for link in links]
        by_id = {id(link.thing): link for link in links}
        ours = {id(things), id(links), *self._ours}
        above: list[_Link] = []
        second: NamedHolder | None = None
        for thing in referrers(things):
            if id(thing) in ours or id(thing) in seen or type(thing) is _Link:
                continue
            for link in self._held_in(thing, by_id):
                found = self._step(thing, link)
                if isinstance(found, NamedHolder):
                    if found.kind not in ("Out", "traceback", "closure"):
                        return found
                    second = second or found
                elif found is not None:
                    seen.add(id(thing))
                    above.append(found)
        nearer = [named for link in above if (named := self._named(link)) is not None]
        return nearer[0] if nearer and second is None else second or above

    def _held_in(self, thing: Any, by_id: dict[int, _Link]) -> list[_Link]:
        """Which of the links, at most one, a referrer holds directly."""
        if isinstance(thing, FrameType) and self._skips(thing):
            return []
        for link in by_id.values():
            if _holds(thing, link):
                return [link]
        return []

    def _skips(self, frame: FrameType) -> bool:
        return id(frame) in self._frames.running or self._origins[frame.f_code.co_filename] == MACHINERY

    def _step(self, thing: Any, link: _Link) -> _Link | NamedHolder | None:
        """From a link to what refers to it."""
        if isinstance(thing, dict):
            return self._of_dict(thing, link)  # pyright: ignore[reportUnknownArgumentType] # whatever the program holds
        if isinstance(thing, (list, tuple, deque, set, frozenset)):
            position = _position(thing, link.thing)  # pyright: ignore[reportUnknownArgumentType] # likewise
            return _Link(thing, f"[{position}]{link.text}", link.kind)  # of a set: it has no order that stays
        if isinstance(thing, (FrameType, GeneratorType, CellType)):
            return self._of_running(thing, link)
        return self._of_object(thing, link)

    def _of_running(self, thing: Any, link: _Link) -> NamedHolder | None:
        if isinstance(thing, FrameType):
            return self._of_frame(thing, link)
        return self._of_cell(thing, link) if type(thing) is CellType else self._of_frame(thing.gi_frame, link, "local")

    def _of_dict(self, names: dict[Any, Any], link: _Link) -> _Link | NamedHolder | None:
        key = next((key for key, value in list(names.items()) if value is link.thing), None)
        if key is None:
            return None  # it is a key, as in an optimizer's state
        if module_of(names) is not None:
            return self._global(names, str(key), link)
        kind = "hook" if isinstance(key, str) and key.endswith(HOOK_TABLES) else link.kind
        return _Link(names, link.text, kind, key, has_key=True)

    def _global(self, names: Mapping[Any, Any], key: str, link: _Link) -> NamedHolder:
        file = names.get("__file__")
        place = (self._origins.absolute(file), -1, "<module>") if isinstance(file, str) else ("", -1, "")
        if OUT.fullmatch(key) and "_oh" in names:
            return NamedHolder(("Out" if key == "_oh" else key) + link.text, "Out")
        return NamedHolder(key + link.text, link.kind or ("attribute" if "." in link.text else "global"), *place)

    def _of_cell(self, cell: CellType, link: _Link) -> NamedHolder | None:
        for closure in referrers([cell]):
            if type(closure) is not tuple:
                continue
            for function in referrers([closure]):
                if type(function) is FunctionType and function.__closure__ is closure:
                    return self._closure(function, closure.index(cell), link)
        return None

    def _closure(self, function: FunctionType, position: int, link: _Link) -> NamedHolder | None:
        code = function.__code__
        if self._origins[code.co_filename] == MACHINERY:
            return None
        kind = link.kind or ("hook" if _is_hook(function) else "closure")
        file = self._origins.absolute(code.co_filename)
        return NamedHolder(code.co_freevars[position] + link.text, kind, file, code.co_firstlineno, function.__name__)

    def _of_frame(self, frame: FrameType | None, link: _Link, kind: str = "traceback") -> NamedHolder | None:
        """A frame that runs no more: an exception's traceback keeps it; or, if it is told so, a generator."""
        if frame is None:
            return None
        with readable_locals(frame) as names:
            name = next((name for name, value in names.items() if value is link.thing), None)
        if name is None:
            return None
        code = frame.f_code
        chain = name + link.text
        if kind == "traceback":
            chain = f"{'sys.last_traceback' if id(frame) in self._last_frames else 'a traceback'}: {chain}"
        return NamedHolder(chain, kind, self._origins.absolute(code.co_filename), frame.f_lineno, code.co_name)

    def _of_object(self, thing: Any, link: _Link) -> _Link | NamedHolder | None:
        if isinstance(thing, FunctionType):
            return self._default_of(thing, link)
        if isinstance(thing, type):
            return NamedHolder(f"{thing.__name__}.{link.key}{link.chain}", link.kind or "attribute")
        if isinstance(thing, (ModuleType, torch.Tensor)) and link.kind != "hook":
            return None
        kind = "optimizer" if issubclass(type(thing), torch.optim.Optimizer) and not link.kind else link.kind
        return _Link(thing, _attribute_text(thing, link), kind)

    def _default_of(self, function: FunctionType, link: _Link) -> NamedHolder | _Link | None:
        code = function.__code__
        if function.__globals__ is link.thing or self._origins[code.co_filename] == MACHINERY:
            return None
        file = self._origins.absolute(code.co_filename)
        names = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        if defaults is link.thing:
            position = int(link.text[1:].partition("]")[0]) if link.text[1:2].isdigit() else 0
            argument = names[len(names) - len(defaults) + position]
            rest = link.text.partition("]")[2]
            return NamedHolder(argument + rest, "closure", file, code.co_firstlineno, function.__name__)
        return _Link(function, f".{function.__name__}{link.text}", link.kind)


def attributes_of(thing: Any) -> dict[str, Any] | None:
    """An object's attributes, past whatever the program made of attribute access."""
    try:
        found: Any = object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return None
    return found if type(found) is dict else None  # pyright: ignore[reportUnknownVariableType] # likewise


def _holds(thing: Any, link: _Link) -> bool:
    if isinstance(thing, dict):
        return any(value is link.thing for value in list(thing.values()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # likewise
    if isinstance(thing, (list, tuple, deque, set, frozenset)):
        return len(thing) <= MAX_ITEMS and _position(thing, link.thing) >= 0  # pyright: ignore[reportUnknownArgumentType] # likewise
    if type(thing) is CellType:
        try:
            return thing.cell_contents is link.thing
        except ValueError:  # empty by now
            return False
    return any(found is link.thing for found in _direct(thing))


def _direct(thing: Any) -> list[Any]:
    return gc.get_referents(thing)


def _attribute_text(thing: Any, link: _Link) -> str:
    """What of an object leads to a link: an attribute, an element of a table of modules, or nothing that is known."""
    attributes = attributes_of(thing)
    if link.has_key and attributes is link.thing:
        is_table = isinstance(link.key, str) and link.key in ("_modules", "_parameters", "_buffers")
        return link.chain if is_table else f".{link.key}{link.chain}"
    name = next((name for name, value in list((attributes or {}).items()) if value is link.thing), None)
    name = name or next((name for name in _slots(thing) if _slot(thing, name) is link.thing), None)
    return f".{name}{link.text}" if name else link.text


def _position(items: Iterable[Any], value: Any) -> int:
    return next((position for position, item in enumerate(items) if item is value), -1)


def _mro(thing: Any) -> tuple[type, ...]:
    return type(thing).__mro__  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # whatever the program holds


def _slots(thing: Any) -> list[str]:
    found: list[str] = []
    for each in _mro(thing):
        names: Any = vars(each).get("__slots__", ())
        found += [names] if isinstance(names, str) else [name for name in names if isinstance(name, str)]
    return found


def _slot(thing: Any, name: str) -> Any:
    try:
        return object.__getattribute__(thing, name)
    except (AttributeError, TypeError):
        return None


def _is_hook(function: FunctionType) -> bool:
    """Whether a table of hooks holds a function."""
    for table in referrers([function]):
        if isinstance(table, dict) and all(isinstance(key, int) for key in table):  # pyright: ignore[reportUnknownVariableType] # likewise
            return True  # a module's `_forward_hooks`, a tensor's `_backward_hooks`: by the number of the handle
    return False


def _key_text(key: Any) -> str:
    return repr(key) if type(key) in (str, int, float, bool, bytes) else "..."

"""Whether compiled code guards the tables of global module hooks, and how it comes not to.

Where modules inside a compiled region have hooks of the program's own, dynamo reads those tables and guards their
lengths: a hook that comes or goes then compiles the region anew. Such guards are left out of what is compiled while
our hooks are there; where they stand already, our hooks must stay away.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GUARDED = (
    "Modules, their lines and the gradients of their outputs are not known: modules inside a function compiled before "
    "the recording have hooks of the program's own, and our global hooks would have it compiled again."
)

DEPTH = 4
_TABLES = ("._global_forward_hooks", "._global_forward_pre_hooks")
_GUARDS, _FRAMES = "torch._dynamo.guards", "torch._dynamo.convert_frame"


def are_guarded() -> bool:
    """Whether any code that is compiled now guards the tables."""
    eval_frame: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    entries_of = getattr(eval_frame, "_debug_get_cache_entry_list", None)
    if entries_of is None:
        return False
    entries = (entry for code in _compiled_codes() for entry in entries_of(code))
    return any(_guards_tables(getattr(getattr(entry, "guard_manager", None), "root", None)) for entry in entries)


def _guards_tables(manager: Any, depth: int = 0) -> bool:
    """Whether a tree of guards has one on the length of a table: a global of torch's, at most DEPTH below the root."""
    children: Any = manager.get_child_managers() if hasattr(manager, "get_child_managers") else ()
    for child in children if depth < DEPTH else ():
        source = str(getattr(child, "get_source", str)())
        if source.endswith(_TABLES) and type(child).__name__ == "DictGuardManager":
            return True
        if source.startswith("G") and _guards_tables(child, depth + 1):
            return True
    return False


def _compiled_codes() -> Iterator[Any]:
    seen: Any = getattr(getattr(sys.modules.get(_FRAMES), "input_codes", None), "seen", None)
    for reference in list(seen or ()):
        code = reference() if callable(reference) else reference
        if code is not None:
            yield code


class UnguardedTables:
    """While it is on, what is compiled does not guard the tables."""

    def __init__(self) -> None:
        self._kind: Any = None
        self._original: Callable[..., None] | None = None

    def start(self) -> None:
        kind: Any = getattr(sys.modules.get(_GUARDS), "CheckFunctionManager", None)
        if kind is None or self._original is not None:
            return
        original: Any = kind.__init__

        def without_tables(manager: Any, f_code: Any, output_graph: Any, *arguments: Any, **options: Any) -> None:
            _leave_out(output_graph)
            original(manager, f_code, output_graph, *arguments, **options)

        self._kind, self._original = kind, original
        kind.__init__ = without_tables

    def stop(self) -> None:
        if self._original is not None:
            self._kind.__init__ = self._original
            self._original = None


def _leave_out(output_graph: Any) -> None:
    try:
        guards = output_graph.guards
        for source in [guard.originating_source for guard in guards]:
            if _name(source).endswith(_TABLES):
                guards.remove_guards_with_source(source)
        kept = [guard for guard in guards.inner if not _name(guard.originating_source).endswith(_TABLES)]
        if len(kept) < len(guards.inner):  # before torch 2.13 the method removes what depends on a source alone
            guards.inner = type(guards.inner)(kept)
    except Exception:  # noqa: BLE001, S110 # whatever this torch does otherwise, it compiles as it would without us
        pass


def _name(source: Any) -> str:
    name = getattr(source, "name", "")
    return str(name() if callable(name) else name)

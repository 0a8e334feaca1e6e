"""Takes our global module hooks away while the compiler traces, so that it neither compiles nor guards them.

Hooks that are there when a module is first compiled become part of the compiled code: taking them out later
compiles it anew. Modules inside a compiled region call no hooks; those around it do, before and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.modules import module as _modules

from gradwatch.capture import compiled_calls
from gradwatch.capture.compiled_frames import keep_out
from gradwatch.capture.compiled_guards import UnguardedTables

if TYPE_CHECKING:
    from collections import OrderedDict
    from collections.abc import Callable

_ANY = "_has_any_global_hook"
_TABLES = (
    "_global_backward_pre_hooks",
    "_global_backward_hooks",
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
)

SEEN = "What is compiled while this recording runs is compiled again when it has ended."

Away = tuple["OrderedDict[int, Any]", int, Any, list[int]]
"""A table of hooks, the key and hook taken out of it, and the keys that stood behind it."""


class UntracedHooks:
    """Global hooks, by their handles, that the compiler must not see."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._away: list[Away] = []
        self._asked: Callable[..., object] | None = None
        self._unguarded = UnguardedTables()

    def start(self, handles: list[Any]) -> str | None:
        """Begin with hooks that are in their tables. Returns why the compiler will see them, where it will."""
        self._handles = list(handles)
        why_not = compiled_calls.join(self)
        keep_out()
        self._stand_in_for_question()
        return None if why_not is None else f"{SEEN} {why_not[0].upper()}{why_not[1:]}."

    def stop(self) -> None:
        """End. The hooks are removed by their handles, before or after."""
        self._handles = []
        self._away = []
        compiled_calls.leave(self)
        self._unguarded.stop()
        if self._asked is not None:
            setattr(_modules, _ANY, self._asked)
            self._asked = None

    def compiling_began(self) -> None:
        self._unguarded.start()
        for handle in self._handles:
            table = handle.hooks_dict_ref()
            if table is not None and handle.id in table:
                keys = list(table)
                behind = keys[keys.index(handle.id) + 1 :]
                self._away.append((table, handle.id, table.pop(handle.id), behind))

    def compiling_ended(self) -> None:
        self._unguarded.stop()
        away, self._away = self._away, []
        for table, key, hook, behind in reversed(away):
            table[key] = hook
            for other in behind:
                if other in table:
                    table.move_to_end(other)

    def _stand_in_for_question(self) -> None:
        """`OptimizedModule` warns where there are global hooks, which for ours is no use to the program."""
        asked: Any = getattr(_modules, _ANY, None)
        if not callable(asked):
            return
        tables = [getattr(_modules, name) for name in _TABLES if hasattr(_modules, name)]
        ours = {(id(handle.hooks_dict_ref()), handle.id) for handle in self._handles}

        def _has_any_global_hook() -> bool:
            return any((id(table), key) not in ours for table in tables for key in table)

        self._asked = asked
        setattr(_modules, _ANY, _has_any_global_hook)

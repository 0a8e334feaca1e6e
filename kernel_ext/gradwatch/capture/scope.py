"""What a stopped frame reaches: tensors, modules and optimizers, under the names that the user wrote.

The search goes level by level, so that the shortest expression for a value is found first, and it is bounded.
"""

from __future__ import annotations

import re
import sys
import types
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from gradwatch.capture.inside import (
    dictionary_of,
    fields_of,
    items_of,
    package_of,
    param_groups,
    remembered,
    slots_of,
    submodules,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_TENSORS = 1000
MAX_VISITS = 20_000
MAX_CONTAINERS = 3
MAX_ATTRIBUTES = 2
"""How many containers, and how many attributes, may lie on the way to a value."""

_INTERPRETER_NAMES = re.compile(r"_|__+|__.*__|_\d+|_i+\d*|_[iod]h|_exit_code|\.\d+|_pydev.*|_dbg|@.*")
_IPYTHON_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_OUTSIDE = frozenset(
    {"_pydevd_bundle", "_pydev_bundle", "pydevd", "debugpy", "IPython", "ipykernel", "traitlets", "zmq", "gradwatch"}
    | (sys.stdlib_module_names - {"__main__", "collections", "types", "argparse", "dataclasses", "functools"})
)
"""Top-level packages whose objects hold nothing that a user would call theirs."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A value and the expression that reaches it. `ways` are longer or later expressions for the same value."""

    expression: str
    value: Any
    ways: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Scope:
    """What a namespace reaches, in the order in which it was met. `left` says why the rest is not here."""

    tensors: list[Reached] = field(default_factory=list[Reached])
    modules: list[Reached] = field(default_factory=list[Reached])
    optimizers: list[Reached] = field(default_factory=list[Reached])
    visited: int = 0
    left: str = ""

    def all(self) -> list[Reached]:
        return [*self.tensors, *self.modules, *self.optimizers]


def public_names(names: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that the user wrote: not the interpreter's, the debugger's or IPython's."""
    ipython = _IPYTHON_NAMES if "_ih" in names or "get_ipython" in names else frozenset[str]()
    return {
        name: value
        for name, value in list(names.items())
        if type(name) is str and name not in ipython and not _INTERPRETER_NAMES.fullmatch(name)
    }


def reach(names: Mapping[str, Any], is_over: Callable[[], bool]) -> Scope:
    """Read what `names` reach, nearest first, until `is_over` or a bound ends it."""
    scope = Scope()
    seen: dict[int, Reached] = {}
    waiting = deque(_Way(name, value, 0, 0) for name, value in names.items())
    while waiting:
        way = waiting.popleft()
        kind = remembered(_kinds, type(way.value), _classify)
        if kind is None:
            continue
        known = seen.get(id(way.value))
        if known is not None:
            known.ways.append(way.expression)
            continue
        scope.visited += 1
        scope.left = _why_stop(scope, is_over)
        if scope.left:
            break
        seen[id(way.value)] = reached = Reached(way.expression, way.value)
        waiting.extend(_taken_in(scope, reached, kind, way))
    scope.modules = _outermost(scope.modules)
    return scope


class _Way(NamedTuple):
    """A value that waits to be looked into, and how many containers and attributes lie on the way to it."""

    expression: str
    value: Any
    containers: int
    attributes: int


def _taken_in(scope: Scope, reached: Reached, kind: str, way: _Way) -> list[_Way]:
    """List a value under its kind, and return what leads on from it."""
    value, expression = reached.value, reached.expression
    if kind == "tensor":
        scope.tensors.append(reached)
        return []
    if kind == "optimizer" and param_groups(value) is not None:
        scope.optimizers.append(reached)
        return []
    if kind == "container":
        deeper = (way.containers + 1, way.attributes)
        return [] if deeper[0] > MAX_CONTAINERS else [_Way(expression + e, v, *deeper) for e, v in items_of(value)]
    if kind == "module":
        scope.modules.append(reached)
    deeper = (way.containers, way.attributes + 1)
    return [] if deeper[1] > MAX_ATTRIBUTES else [_Way(expression + e, v, *deeper) for e, v in fields_of(value)]


def _why_stop(scope: Scope, is_over: Callable[[], bool]) -> str:
    if len(scope.tensors) >= MAX_TENSORS:
        return f"the first {MAX_TENSORS} tensors are listed"
    if scope.visited > MAX_VISITS:
        return f"the first {MAX_VISITS} objects were looked into"
    if scope.visited % 64 == 0 and is_over():
        return "the time budget ended"
    return ""


_kinds: dict[Any, str | None] = {}


def _classify(kind: Any) -> str | None:
    if issubclass(kind, torch.Tensor):
        return "tensor"
    if issubclass(kind, nn.Module):
        return "module"
    if issubclass(kind, torch.optim.Optimizer):
        return "optimizer"
    if issubclass(kind, (dict, list, tuple)):
        return "container"
    if issubclass(kind, (type, types.ModuleType, BaseException)) or package_of(kind) in _OUTSIDE:
        return None
    return "object" if dictionary_of(kind) is not None or slots_of(kind) else None


def _outermost(modules: list[Reached]) -> list[Reached]:
    if len(modules) < 2:
        return modules
    inner: set[int] = set()
    for reached in modules:
        if id(reached.value) not in inner:
            inner.update(id(part) for _, part in submodules(reached.value) if part is not reached.value)
    return [reached for reached in modules if id(reached.value) not in inner]

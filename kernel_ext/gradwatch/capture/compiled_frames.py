"""Keeps dynamo away from our own frames: a hook that runs inside a compiled program must not be compiled with it.

Dynamo looks at every Python frame that begins while a compiled function runs, also at those of hooks that the eager
parts of it call. It is told by a mark on our code objects, which C reads and nothing else sees.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "gradwatch.capture."

CALL_THE_PROGRAM = frozenset(
    {"backward", "backward_stops", "conditioned_call", "engine_entry", "engine_threads", "recorder"}
)
"""Files with functions that call the program's own code, which dynamo sees as it would without us."""

_marked: set[str] = set()


def keep_out() -> None:
    """Mark every function of the capture that is loaded now. Nothing where this torch has no such marks."""
    eval_frame: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    mark = getattr(eval_frame, "set_code_exec_strategy", None)
    strategy, action = getattr(eval_frame, "_FrameExecStrategy", None), getattr(eval_frame, "_FrameAction", None)
    if mark is None or strategy is None or action is None:
        return
    alone, with_all_it_calls = strategy(action.SKIP, action.DEFAULT), strategy(action.SKIP, action.SKIP)
    for name, module in sys.modules.copy().items():
        if name.startswith(PACKAGE) and name not in _marked:
            _marked.add(name)
            passes_on = name.removeprefix(PACKAGE) in CALL_THE_PROGRAM
            for code in _codes_of(module):
                mark(code, alone if passes_on else with_all_it_calls)


def _codes_of(module: ModuleType) -> Iterator[CodeType]:
    for function in _functions(vars(module), module.__name__):
        yield from _with_inner(function.__code__)


def _functions(namespace: Any, module: str) -> Iterator[FunctionType]:
    for value in dict(namespace).values():
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield value
        elif isinstance(value, (staticmethod, classmethod)):
            yield value.__func__  # pyright: ignore[reportReturnType, reportUnknownMemberType] # ours are functions
        elif isinstance(value, property):
            yield from (each for each in (value.fget, value.fset) if isinstance(each, FunctionType))
        elif isinstance(value, type) and value.__module__ == module:
            yield from _functions(vars(value), module)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)

"""Runs the rest of a cell inside the cell that is running, as if it were that cell."""

from __future__ import annotations

import ast
import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from IPython.core.interactiveshell import ExecutionResult, InteractiveShell


def run_inside(shell: InteractiveShell, magic_line: str, cell: str) -> ExecutionResult:
    """Run `cell`, which `magic_line` stood above, with the running cell's number, lines and outcome.

    An error in it has been shown when this returns, and the running cell counts as failed, so that
    nothing runs after it that would not have run without the magic.
    """
    hook: Any = shell.displayhook  # its exec_result is the running cell's result
    untyped: Any = shell
    run_cell: Callable[..., ExecutionResult] = untyped.run_cell
    running: ExecutionResult | None = hook.exec_result
    with _numbered(shell, None if running is None else running.execution_count), _loop_of_its_own(untyped):
        try:
            result = run_cell(_with_line(magic_line, cell), store_history=False)
        finally:
            hook.exec_result = running
    if running is not None:
        running.error_in_exec = result.error_before_exec or result.error_in_exec
    return result


@contextmanager
def _numbered(shell: InteractiveShell, number: int | None) -> Generator[None, None, None]:
    """Give the next cell to run the number of the one that runs, for tracebacks and for its output.

    IPython takes the first when it compiles a cell, and the second (which it counts from the number of the
    cell to come) when the cell displays its value. Transformers of the syntax tree are called in between.
    """
    count = shell.execution_count
    shell.execution_count = count if number is None else number
    back = _CountBack(shell, count)
    shell.ast_transformers.append(back)
    try:
        yield
    finally:
        shell.ast_transformers.remove(back)
        shell.execution_count = count


class _CountBack(ast.NodeTransformer):
    def __init__(self, shell: InteractiveShell, count: int) -> None:
        self._shell = shell
        self._count = count

    def visit(self, node: ast.AST) -> ast.AST:
        self._shell.execution_count = self._count
        return node


def _with_line(magic_line: str, cell: str) -> str:
    """Put a comment where the magic's line stands, so that lines have the numbers that the editor shows.

    A cell magic must stay first in its cell, so there it is left out. An indented cell is dedented by
    IPython if its first line is indented.
    """
    if cell.lstrip().startswith("%%"):
        return cell
    indent = re.match(r"[ \t]*", cell)
    return f"{indent[0] if indent else ''}# {magic_line}\n{cell}"


@contextmanager
def _loop_of_its_own(shell: Any) -> Generator[None, None, None]:
    """Let IPython run an inner cell with `await` in it on an event loop of its own.

    A kernel's loop is busy with the outer cell; what belongs to it cannot be awaited in the inner one.
    """
    runner: Callable[[Any], object] = shell.loop_runner

    def run(coroutine: object) -> object:
        with _outside_of_loop():
            return runner(coroutine)

    shell.loop_runner = run
    try:
        yield
    finally:
        shell.loop_runner = runner


@contextmanager
def _outside_of_loop() -> Generator[None, None, None]:
    """Lay the running event loop aside: asyncio refuses to run one inside another.

    The calls are those that asyncio documents for other implementations of loops and tasks.
    """
    loop = asyncio._get_running_loop()  # noqa: SLF001  # as documented for loop implementations
    if loop is None:
        yield
        return
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio._leave_task(loop, task)  # noqa: SLF001  # likewise
    asyncio._set_running_loop(None)  # noqa: SLF001  # likewise
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001  # likewise
        if task is not None:
            asyncio._enter_task(loop, task)  # noqa: SLF001  # likewise

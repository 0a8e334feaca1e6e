"""Runs the rest of a cell inside the cell that is running, as if it were that cell."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import ExecutionResult, InteractiveShell


def run_inside(shell: InteractiveShell, magic_line: str, cell: str) -> ExecutionResult:
    """Run `cell`, which `magic_line` stood above, with the running cell's number, lines and outcome.

    An error in it has been shown when this returns, and the running cell counts as failed, so that
    nothing runs after it that would not have run without the magic.
    """
    hook: Any = shell.displayhook  # its exec_result is the running cell's result
    running: ExecutionResult | None = hook.exec_result
    count = shell.execution_count
    number: int | None = None if running is None else running.execution_count
    shell.execution_count = count if number is None else number
    try:
        with _outside_of_loop():
            result = shell.run_cell(_with_line(magic_line, cell), store_history=False)
    finally:
        shell.execution_count = count
        hook.exec_result = running
    if running is not None:
        running.error_in_exec = result.error_before_exec or result.error_in_exec
    return result


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
def _outside_of_loop() -> Iterator[None]:
    """Let IPython run `await` in the inner cell on its own event loop, while a kernel's loop runs this cell.

    asyncio refuses a loop inside a running one. The calls are those that asyncio documents for other
    implementations of loops and tasks.
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

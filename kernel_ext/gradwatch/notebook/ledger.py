"""%gradwatch memory and release: which cell and which variable hold memory and graphs, and what an exception keeps."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradwatch.reporters import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradwatch.capture.namespace_memory import Holding

EVENTS = ("pre_run_cell", "post_run_cell")
SHOWN = 20
"""Variables and cells in the table; the rest is counted."""

WORTH_A_LOOK = 5
"""A cell's bytes are read when it ran this many times as long as reading them takes; else the next cell has them."""


@dataclass(slots=True)
class Cell:
    """What a cell changed: bytes more (or less) than at the last reading."""

    number: int
    change: int


class CellLedger:
    """Follows the cells of a shell while the extension is loaded: which cell bound which name, and what it added."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._bound_by: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._cells: dict[int, Cell] = {}
        self._bytes = -1
        self._began = 0.0
        self._look_took = 0.0

    def start(self) -> None:
        """Listen to the shell's cells."""
        for event in EVENTS:
            self._shell.events.register(event, getattr(self, event))

    def stop(self) -> None:
        """Listen no more."""
        for event in EVENTS:
            self._shell.events.unregister(event, getattr(self, event))

    def pre_run_cell(self, info: object) -> None:  # noqa: ARG002 # IPython's call
        """A cell begins."""
        self._before = self._names()
        if self._bytes < 0 and "torch" in sys.modules:
            self._read_bytes()
        self._began = perf_counter()

    def post_run_cell(self, result: Any) -> None:
        """A cell ended, with an error or without."""
        number = getattr(result, "execution_count", None)
        if number is None:  # run without a place in the history
            return
        for name, identity in self._names().items():
            if self._before.get(name) != identity:
                self._bound_by[name] = number
        if "torch" in sys.modules and perf_counter() - self._began >= WORTH_A_LOOK * self._look_took:
            self._note_change(number)

    def _names(self) -> dict[str, int]:
        return {name: id(value) for name, value in list(self._shell.user_ns.items()) if not name.startswith("_")}

    def _note_change(self, number: int) -> None:
        before = self._bytes
        self._read_bytes()
        if before >= 0:
            self._cells[number] = Cell(number, self._bytes - before)

    def _read_bytes(self) -> None:
        from gradwatch.capture.namespace_memory import storage_bytes  # noqa: PLC0415 # torch is loaded by now

        start = perf_counter()
        self._bytes = storage_bytes()
        self._look_took = perf_counter() - start

    def report(self) -> str:
        """The ledger as text."""
        if "torch" not in sys.modules:
            return "torch is not loaded: there are no tensors yet."
        from gradwatch.capture import namespace_memory as memory  # noqa: PLC0415 # as above

        variables = self._variables()
        parameters = memory.parameter_storages(variables)
        found = memory.holdings(variables, parameters)
        kept = memory.traceback_holding(found, parameters)
        lines = [*self._totals(found), "", *self._table(found), *self._by_cell()]
        return "\n".join([*lines, *_of_exception(kept)])

    def release(self) -> str:
        """Let go of the last exception, and say what was freed."""
        if "torch" not in sys.modules:
            return "torch is not loaded: no exception keeps a tensor."
        from gradwatch.capture import namespace_memory as memory  # noqa: PLC0415 # as above

        if memory.last_traceback() is None:
            return "No exception is kept: there is nothing to release."
        result = getattr(self._shell, "last_execution_result", None)
        freed = memory.release([getattr(self._shell, "InteractiveTB", None), getattr(self._shell, "SyntaxTB", None)])
        error = getattr(result, "error_in_exec", None)
        if isinstance(error, BaseException):
            error.__traceback__ = None
        return f"Released the last exception and its frames' variables: {numbers.size(freed)} freed."

    def _variables(self) -> dict[str, object]:
        """The user's variables, and each result that IPython keeps."""
        names: Mapping[str, Any] = self._shell.user_ns
        hidden: Mapping[str, Any] = getattr(self._shell, "user_ns_hidden", {})
        own = {name: value for name, value in list(names.items()) if not name.startswith("_") and name not in hidden}
        own.pop("Out", None)
        results: dict[Any, Any] = names.get("_oh", {})
        return {**own, **{f"Out[{number}]": value for number, value in list(results.items())}}

    def _totals(self, found: list[Holding]) -> list[str]:
        storages = {address: size for holding in found for address, size in holding.storages.items()}
        graphs = sum(holding.graphs for holding in found)
        saved = sum(holding.saved for holding in found)
        behind = f", {numbers.counted(graphs, 'live graph')} with {numbers.size(saved)} saved for backward"
        return [f"Variables hold {numbers.size(sum(storages.values()))} in tensors{behind if graphs else ''}."]

    def _table(self, found: list[Holding]) -> list[str]:
        if not found:
            return ["No variable holds a tensor."]
        ordered = sorted(found, key=lambda holding: holding.bytes + holding.saved, reverse=True)
        rows = [("variable", "cell", "tensors", "bytes", "graphs", "saved for backward")]
        rows += [
            (
                holding.name,
                self._cell_of(holding.name),
                str(holding.tensors),
                numbers.size(holding.bytes),
                str(holding.graphs or "·"),
                numbers.size(holding.saved) if holding.graphs else "·",
            )
            for holding in ordered[:SHOWN]
        ]
        rest = len(ordered) - SHOWN
        return [*_aligned(rows), *([f"and {numbers.counted(rest, 'more variable')}"] if rest > 0 else [])]

    def _cell_of(self, name: str) -> str:
        number = int(name[4:-1]) if name.startswith("Out[") else self._bound_by.get(name)
        return "·" if number is None else f"In[{number}]"

    def _by_cell(self) -> list[str]:
        cells = sorted(self._cells.values(), key=lambda cell: abs(cell.change), reverse=True)[:SHOWN]
        changed = [cell for cell in cells if cell.change]
        if not changed:
            return []
        signs = {True: "+", False: numbers.MINUS}
        rows = [(f"In[{cell.number}]", f"{signs[cell.change > 0]}{numbers.size(abs(cell.change))}") for cell in changed]
        return ["", "What cells added in tensors:", *_aligned(rows)]


def _of_exception(kept: Holding) -> list[str]:
    if not kept.tensors:
        return []
    held = f"{numbers.counted(kept.tensors, 'tensor')} that no variable does, {numbers.size(kept.bytes + kept.saved)}"
    return ["", f"The last exception's traceback keeps {held}. Free them: %gradwatch release"]


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns of text: the first two to the left, numbers to the right."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 or (column == 1 and len(row) > 2) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

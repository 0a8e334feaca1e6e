"""What the traced steps, the module calls and the optimizers of a session say, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradwatch.errors import SessionDamaged
from gradwatch.records import ModuleCalls, OptimizerMembers, Trace
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gradwatch.records import Column, ForeignParameter
    from gradwatch.session.reader import SessionReader


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """What one module did in a step. `calls` 0: it is known and was not called; `forward_ns` -1: not known."""

    module: int
    calls: int
    without_grad: int
    training: bool
    forward_ns: int


@dataclass(frozen=True, slots=True)
class Members:
    """Which parameters (ids) an optimizer updates from `step` on, and what it has that no recorded module has."""

    step: int
    optimizer: int
    optimizer_class: str
    parameters: frozenset[int]
    foreign: tuple[ForeignParameter, ...]


class Traces:
    """The traces of one session, read once. Columns that do not fit their record are left out."""

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        self._path: Path = reader.path
        self._sites: dict[tuple[int, bool], dict[int, int]] = {}

    @cached_property
    def records(self) -> list[Trace]:
        """One per traced step, in the order in which the steps ended."""
        return list(self._reader.records(Trace))

    def uses(self, trace: Trace) -> dict[int, int]:
        """How many ops of a traced step were given each parameter (by id) itself; 0 where it is not among them."""
        used, counts = self._numbers(trace.used_parameters), self._numbers(trace.uses)
        return dict(zip(used, counts, strict=False))

    def site_of(self, graph: int, node: int, *, project: bool = False) -> int:
        """The line (site id) of the op that made a node, from a trace of the same graph; -1 not known."""
        key = (graph, project)
        if key not in self._sites:
            self._sites[key] = self._sites_of(graph, project=project)
        return self._sites[key].get(node, -1)

    def _sites_of(self, graph: int, *, project: bool) -> dict[int, int]:
        found: dict[int, int] = {}
        for trace in self.records:
            column = trace.node_project_site if project else trace.node_site
            if trace.graph == graph and graph >= 0 and column is not None:
                found |= {node: site for node, site in enumerate(self._numbers(column)) if site >= 0}
        return found

    def module_calls(self, step: int) -> dict[int, ModuleCall]:
        """What each module did in a step, by module id; nothing where the step was not looked at so closely."""
        found: dict[int, ModuleCall] = {}
        for record in self._reader.records_of_step(ModuleCalls, step):
            for call in self._calls(record):
                found[call.module] = call
        return found

    def _calls(self, record: ModuleCalls) -> Iterator[ModuleCall]:
        columns = (record.modules, record.calls, record.without_grad, record.training, record.forward_ns)
        rows = zip(*(self._numbers(column) for column in columns), strict=False)
        for module, calls, without_grad, training, forward_ns in rows:
            yield ModuleCall(module, calls, without_grad, bool(training), forward_ns)

    @cached_property
    def optimizer_members(self) -> list[Members]:
        """What each optimizer updates, anew each time that it changed."""
        return [
            Members(
                record.step,
                record.optimizer,
                record.optimizer_class,
                frozenset(self._numbers(record.parameters)),
                tuple(record.foreign),
            )
            for record in self._reader.records(OptimizerMembers)
        ]

    def _numbers(self, column: Column) -> list[int]:
        try:
            return as_array(column, self._path).tolist()
        except SessionDamaged:
            return []

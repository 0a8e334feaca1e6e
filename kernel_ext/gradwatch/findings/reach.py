"""Which parameters' gradients the steps of a session brought, and which optimizer used them: facts, no judgement."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gradwatch.errors import SessionDamaged
from gradwatch.records import Backward, Gradients, ModuleCalls, OptimizerStep
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gradwatch.records import Column, Trace
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session
    from gradwatch.session.traces import Members

READ_STEPS = 1000
"""Of a longer session half as many steps at its begin and at its end are read: two gigabytes are not."""

_cache: WeakKeyDictionary[Session, tuple[int, Reach]] = WeakKeyDictionary()


@dataclass(slots=True)
class Row:
    """The gradient of one parameter at one step: of the last backward call that reached it."""

    norm: float
    is_zero: bool
    is_finite: bool
    was_zero: bool = False
    """Whether an earlier call of the step left it all zeros: an optimizer may have stepped then."""


@dataclass(slots=True)
class Called:
    """What the looked-at steps say of one module's calls, together."""

    calls: int = 0
    without_grad: int = 0


@dataclass(slots=True)
class Looked:
    """Everything in the steps that were read."""

    rows: dict[int, dict[int, Row]] = field(default_factory=dict[int, dict[int, Row]])
    used: dict[int, dict[int, float]] = field(default_factory=dict[int, dict[int, float]])
    stepped: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    """The optimizers that were measured, by step."""


class Reach:
    """The facts of one session, gathered once. `of` gives them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.traces = session.traced

    @staticmethod
    def of(session: Session) -> Reach:
        """The facts of a session, anew where a running recording has written more."""
        written = session.reader.end_of_records
        known = _cache.get(session)
        if known is None or known[0] != written:
            known = _cache[session] = (written, Reach(session))
        return known[1]

    @cached_property
    def steps(self) -> list[int]:
        """The whole steps that are read, in order: those in which backward came to its end."""
        whole = [step.number for step in self.session.steps if step.complete and not step.interrupted]
        if len(whole) > READ_STEPS:
            whole = whole[: READ_STEPS // 2] + whole[-READ_STEPS // 2 :]
        return whole

    @cached_property
    def looked(self) -> Looked:
        found = Looked()
        steps = frozenset(self.steps)
        self._read_gradients(found, steps)
        self._read_optimizer(found, steps)
        return found

    @cached_property
    def fed_steps(self) -> list[int]:
        """The steps in which any parameter of a module got a gradient."""
        rows = self.looked.rows
        own = {view.id for view in self.trainable}
        return [step for step in self.steps if own & rows.get(step, {}).keys()]

    @cached_property
    def trainable(self) -> list[ParameterView]:
        """Parameters of modules that want a gradient, but for those whose gradient could not be read."""
        unread = {notice.subject for notice in self.session.notices if notice.subject_kind == "parameter"}
        return [
            view
            for view in self.session.parameters
            if view.requires_grad and not view.is_leaf_tensor and view.id not in unread
        ]

    @cached_property
    def by_id(self) -> dict[int, ParameterView]:
        return {view.id: view for view in self.session.parameters}

    def seen(self, parameter: int) -> dict[int, Row]:
        """A parameter's gradients by step."""
        return self._by_parameter.get(parameter, {})

    def applied(self, parameter: int) -> dict[int, float]:
        """The norms of the gradients that optimizers used, by step; NaN where one was there and not measured."""
        return self._applied_by_parameter.get(parameter, {})

    @cached_property
    def reached(self) -> frozenset[int]:
        """Parameters that ever got a gradient."""
        return frozenset(self._by_parameter)

    def was_to_update(self, parameter: int, step: int) -> bool:
        """Whether an optimizer stepped that has a parameter; where its members are not known, whether any did."""
        stepped = self.looked.stepped.get(step, set())
        return bool(stepped if self.optimized is None else stepped & self._optimizers_of.get(parameter, set()))

    @cached_property
    def in_graphs(self) -> dict[int, int]:
        """Parameters that a recorded graph of `.backward()` leads to, each with one such graph."""
        found: dict[int, int] = {}
        for graph in self._graphs:
            columns = self.session.graph_columns(graph)
            if columns is not None:
                for parameter in set(columns.parameter_id.tolist()) - {-1}:
                    found.setdefault(parameter, graph)
        return found

    @cached_property
    def asks_for_gradients(self) -> bool:
        """Whether any call was a plain `.backward()`: others hand gradients back and leave `.grad` alone."""
        return any(call.call == "backward" and not call.has_inputs for call in self._backwards)

    @cached_property
    def takes_gradients(self) -> bool:
        """Whether any call was `autograd.grad` or named its inputs: the program may use gradients without `.grad`."""
        return any(call.parent < 0 and (call.call == "grad" or call.has_inputs) for call in self._backwards)

    @cached_property
    def optimizers(self) -> list[Members]:
        """What each optimizer last updated."""
        latest = {(members.optimizer, members.optimizer_class): members for members in self.traces.optimizer_members}
        return list(latest.values())

    @cached_property
    def optimized(self) -> frozenset[int] | None:
        """Parameters that any optimizer ever had; None where that is not known."""
        members = self.traces.optimizer_members
        return frozenset[int]().union(*(each.parameters for each in members)) if members else None

    @cached_property
    def _optimizers_of(self) -> dict[int, set[int]]:
        found: defaultdict[int, set[int]] = defaultdict(set)
        for members in self.traces.optimizer_members:
            for parameter in members.parameters:
                found[parameter].add(members.optimizer)
        return dict(found)

    @cached_property
    def calls(self) -> dict[int, Called]:
        """The calls of each module by id, over all steps that have them."""
        found: defaultdict[int, Called] = defaultdict(Called)
        for step in self._steps_with_calls:
            for number, call in self.traces.module_calls(step).items():
                found[number].calls += call.calls
                found[number].without_grad += call.without_grad
        return dict(found)

    def called(self, parameter: ParameterView) -> Called | None:
        """The calls of the module that has a parameter; None where they are not known."""
        name = parameter.module
        if name is None or name not in self.session.modules:
            return None
        return self.calls.get(self.session.modules[name].id)

    @property
    def trace_records(self) -> list[Trace]:
        return self.traces.records

    @cached_property
    def uses(self) -> dict[int, int]:
        """How many traced ops were given each parameter."""
        found: defaultdict[int, int] = defaultdict(int)
        for trace in self.trace_records:
            for parameter, count in self.traces.uses(trace).items():
                found[parameter] += count
        return dict(found)

    @cached_property
    def is_traced(self) -> bool:
        """Whether a step was followed op by op to its end."""
        return any(not trace.truncated for trace in self.trace_records)

    @cached_property
    def _by_parameter(self) -> dict[int, dict[int, Row]]:
        return _turned(self.looked.rows)

    @cached_property
    def _applied_by_parameter(self) -> dict[int, dict[int, float]]:
        return _turned(self.looked.used)

    @cached_property
    def _backwards(self) -> list[Backward]:
        return list(self.session.reader.records(Backward))

    @cached_property
    def _graphs(self) -> list[int]:
        calls = (call for call in self._backwards if call.call == "backward" and not call.has_inputs)
        return list(dict.fromkeys(call.graph for call in calls if call.graph >= 0))

    @cached_property
    def _steps_with_calls(self) -> list[int]:
        return sorted({record.step for record in self.session.reader.records(ModuleCalls)})[:READ_STEPS]

    def _read_gradients(self, found: Looked, steps: frozenset[int]) -> None:
        for record in self._records(Gradients, steps):
            if record.subject_kind == "parameter" and record.stop < 0:
                rows = found.rows.setdefault(record.step, {})
                for subject, row in self._rows_of(record):
                    before = rows.get(subject)
                    row.was_zero = before is not None and (before.is_zero or before.was_zero)
                    rows[subject] = row

    def _rows_of(self, record: Gradients) -> Iterator[tuple[int, Row]]:
        path = self.session.path
        columns = [record.columns.get(name) for name in ("l2", "count", "zeros", "nan", "inf")]
        try:
            subjects = as_array(record.subjects, path).tolist()
            values = [_numbers(each, path, len(subjects)) for each in columns]
        except SessionDamaged:
            return
        for subject, norm, count, zeros, nan, inf in zip(subjects, *values, strict=False):
            yield subject, Row(norm, is_zero=0 < count == zeros, is_finite=not nan and not inf)

    def _read_optimizer(self, found: Looked, steps: frozenset[int]) -> None:
        for record in self._records(OptimizerStep, steps):
            norms = record.columns.get("gradient_norm")
            try:
                subjects = as_array(record.subjects, self.session.path).tolist()
                used = _numbers(norms, self.session.path, len(subjects))
            except SessionDamaged:
                continue
            found.stepped.setdefault(record.step, set()).add(record.optimizer)
            found.used.setdefault(record.step, {}).update(zip(subjects, used, strict=False))

    def _records(self, kind: type[Gradients | OptimizerStep], steps: frozenset[int]) -> Iterator[Any]:
        reader = self.session.reader
        if len(steps) == len(self.session.steps) or not steps:
            yield from (record for record in reader.records(kind) if record.step in steps)
            return
        for step in sorted(steps):
            yield from reader.records_of_step(kind, step)


def _numbers(column: Column | None, path: Path, length: int) -> list[Any]:
    return [] if column is None else as_array(column, path, length).tolist()


def _turned(by_step: dict[int, dict[int, Any]]) -> dict[int, dict[int, Any]]:
    found: dict[int, dict[int, Any]] = {}
    for step, rows in sorted(by_step.items()):
        for parameter, row in rows.items():
            found.setdefault(parameter, {})[step] = row
    return found

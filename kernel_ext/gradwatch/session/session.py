"""A recorded session, as users see it: steps, names, gradients, graphs and held bytes of one file."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import SessionDamaged, UsageError
from gradwatch.records import (
    Backward,
    CompiledRegion,
    Findings,
    Finish,
    Gradients,
    GradientStates,
    Graph,
    Held,
    Ledger,
    Notice,
    Stop,
)
from gradwatch.session.compiled import CompiledView
from gradwatch.session.gradient_series import GradientSeries, SeriesSource
from gradwatch.session.gradients import GradientRows
from gradwatch.session.graph import GraphColumns, GraphView, Variant
from gradwatch.session.held import HeldView
from gradwatch.session.ledger import LedgerTable
from gradwatch.session.names import ModuleView, Names, ParameterView
from gradwatch.session.reader import Gap, SessionReader
from gradwatch.session.sources import Sources
from gradwatch.session.steps import BackwardView, Steps, StepView
from gradwatch.session.traces import Members, ModuleCall, Traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from gradwatch.records import Finding, Run, Site, SubjectKind, Trace
    from gradwatch.session.lookup import NamedSequence

_KEPT_GRAPHS = 8


class Session:
    """A session file, read on demand: opening it reads an index, and each question the records it needs.

    Close it, or use it in a `with` block. `find` is what asks it for findings; without, those stand that were written
    when it was closed. Raises SessionNotFound, NotASession, SessionVersionError or SessionDamaged.
    """

    def __init__(self, path: str | Path, find: Callable[[Session], tuple[Finding, ...]] | None = None) -> None:
        self.reader = SessionReader(path)
        self.path = self.reader.path
        self.run: Run = self.reader.run
        self._find = find

    @property
    def finished(self) -> bool:
        """Whether the file was closed (or repaired); `finish` says whether the recording ended in order."""
        return self.reader.finished

    @property
    def gaps(self) -> list[Gap]:
        """What could not be read, as far as the file was read."""
        return self.reader.gaps

    @cached_property
    def finish(self) -> Finish | None:
        """How the recording ended; None while it runs, or when its process was killed."""
        return next(self.reader.records(Finish), None)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, where, why, and what to do: the worst first."""
        if self._find is not None:
            return self._find(self)
        return tuple(finding for record in self.reader.records(Findings) for finding in record.findings)

    @cached_property
    def notices(self) -> list[Notice]:
        """What could not be seen, and what failed in the recorder."""
        return list(self.reader.records(Notice))

    @cached_property
    def steps(self) -> Steps:
        """All steps, by position. `step` finds one by its number."""
        return Steps(self)

    def step(self, number: int) -> StepView:
        """Return the step with this number. Raises UsageError naming the recorded range."""
        return self.steps.numbered(number)

    @property
    def parameters(self) -> NamedSequence[ParameterView]:
        """Parameters by position or name."""
        return self.names.parameters

    @property
    def modules(self) -> NamedSequence[ModuleView]:
        """Modules by position or name."""
        return self.names.modules

    def gradient(self, name: str, *, micro_batches: bool = False, local: bool = False) -> GradientSeries:
        """Return the gradient of a parameter, or of a module's output, over the steps.

        Outputs are named "layers.0", "layers.0[1]" and, for the second call in a step, "layers.0#2".
        `micro_batches` keeps a row for every backward call. `local`: this rank's own gradient of each call, before
        it was reduced over the ranks; without rows where the program does not reduce. Raises UsageError with near
        matches.
        """
        return GradientSeries(SeriesSource(self.reader, self.names.subject(name, local=local), micro_batches))

    def gradients_at(self, step: int, kind: SubjectKind = "parameter", *, micro_batches: bool = False) -> GradientRows:
        """Return all gradients of one kind in a step.

        Of parameters (also "local", before reduction) and module outputs the row of the last backward call that
        reached them, or with `micro_batches` every call's; of nodes every row.

        Raises UsageError for a step that is not there.
        """
        self.step(step)
        parts = [part for part in self.reader.records_of_step(Gradients, step) if part.subject_kind == kind]
        parts = [part for part in parts if part.stop < 0]
        rows = GradientRows(parts, kind, self.path, self._namer(kind, step))
        return rows if micro_batches or kind == "node" else rows.last_calls_only()

    def gradient_records(self, kind: SubjectKind = "parameter") -> Iterator[GradientRows]:
        """Go once through the gradients of a kind, one backward call at a time, in file order."""
        for record in self.reader.records(Gradients):
            if record.subject_kind == kind and record.stop < 0:
                yield GradientRows([record], kind, self.path, self._namer(kind, record.step))

    def graph(self, step: int, backward: int | None = None) -> GraphView:
        """Return the graph of a backward call: by default of the step's last that has one.

        Calls inside another (recomputation in a checkpoint) come after those of the program's own.

        Raises UsageError saying why there is none.
        """
        calls = self._calls(step, backward)
        call = _last(calls, lambda call: call.graph_id >= 0)
        if call is None:
            why = calls[-1].unobserved or "its graph was not walked"
            raise UsageError(f"No graph was recorded for backward call {calls[-1].index} of step {step}: {why}")
        columns = self.graph_columns(call.graph_id)
        if columns is None:
            raise SessionDamaged(self.path, f"graph {call.graph_id}, which step {step} had, is not in it")
        return GraphView(columns, call, self.ledger_table(call.ledger_id))

    def held(self, step: int, backward: int | None = None) -> HeldView:
        """Return what was held for backward in a call: by default the step's last one whose ledger was recorded.

        Raises UsageError saying why there is none.
        """
        calls = self._calls(step, backward)
        call = _last(calls, lambda call: call.ledger_id >= 0) or calls[-1]
        held = [record for record in self.reader.records_of_step(Held, step) if record.backward == call.index]
        return HeldView(self, call, self.ledger_table(call.ledger_id), held[0] if held else None)

    @property
    def traces(self) -> list[Trace]:
        """The steps whose every op was seen as the program called it."""
        return self.traced.records

    @cached_property
    def traced(self) -> Traces:
        """What the traces say, as numbers."""
        return Traces(self.reader)

    def site_of(self, graph: int, node: int, *, project: bool = False) -> int:
        """Return the line (site id) of the op that made a node of a graph, as a trace saw it; -1 where none did."""
        return self.traced.site_of(graph, node, project=project)

    def module_calls(self, step: int) -> dict[int, ModuleCall]:
        """Return what each module did in a step, by module id; empty where that was not recorded of this step."""
        return self.traced.module_calls(step)

    @property
    def optimizer_members(self) -> list[Members]:
        """Which parameters each optimizer updates, anew each time that it changed."""
        return self.traced.optimizer_members

    @cached_property
    def stops(self) -> list[Stop]:
        """Where a debugger stopped the program and asked, in order."""
        return list(self.reader.records(Stop))

    def gradients_at_stop(self, number: int) -> GradientRows:
        """Return every parameter's gradient as a debugger found it. Raises UsageError for a stop that is not there."""
        self._check_stop(number)
        found = (part for part in self.reader.records(Gradients) if part.stop == number)
        parts = [part for part in found if part.subject_kind == "parameter"]
        return GradientRows(parts, "parameter", self.path, partial(self._subject_name, "parameter"))

    def gradient_states(self, number: int) -> GradientStates | None:
        """Return how each `.grad` stood at a stop; None where that was not asked. Raises like `gradients_at_stop`."""
        self._check_stop(number)
        return next((states for states in self.reader.records(GradientStates) if states.stop == number), None)

    def _check_stop(self, number: int) -> None:
        known = [stop.number for stop in self.stops]
        if number not in known:
            raise UsageError(
                f"There is no stop {number} in this session. It has: {', '.join(map(str, known)) or 'none'}."
            )

    @property
    def sources(self) -> dict[str, str]:
        """Texts of the user's files as they were when they ran, by path."""
        return self.sources_by_id.texts

    def source(self, file: str) -> str:
        """Return a file's recorded text, by its path or the end of it. Raises UsageError with the known files."""
        return self.sources_by_id.text(file)

    def site(self, number: int) -> Site:
        """Return a place in the source. Raises UsageError when there is none of that id."""
        return self.sources_by_id.site(number)

    def line_text(self, site: Site | int) -> str | None:
        """Return the text of a site's line, without its indent; None when it was not recorded."""
        return self.sources_by_id.line_text(site)

    @cached_property
    def variants(self) -> list[Variant]:
        """The distinct graph structures, in order of appearance, with the steps that had them."""
        steps: defaultdict[int, set[int]] = defaultdict(set)
        for call in self.reader.records(Backward):
            if call.graph >= 0:
                steps[call.graph].add(call.step)
        return [Variant(number, np.array(sorted(steps[number]), dtype=np.int64)) for number in steps]

    def refresh(self) -> bool:
        """Take in what a recording that is still running has written since; whether it has."""
        if not self.reader.refresh():
            return False
        for name, what in vars(type(self)).items():
            if isinstance(what, cached_property):
                self.__dict__.pop(name, None)
        return True

    def close(self) -> None:
        """Close the file."""
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "finished" if self.finish else "cut short" if self.finished else "not finished"
        return (
            f"<gradwatch session {self.path.name}: {len(self.steps)} steps, "
            f"{len(self.parameters)} parameters, {len(self.modules)} modules, {state}>"
        )

    # What the views ask of their session.

    @cached_property
    def names(self) -> Names:
        return Names(self.reader)

    @cached_property
    def sources_by_id(self) -> Sources:
        return Sources(self.reader)

    @cached_property
    def first_graph_id(self) -> int:
        """Id of the first graph that a backward call had; -1 when none had one."""
        return next((call.graph for call in self.reader.records(Backward) if call.graph >= 0), -1)

    @cached_property
    def _graphs(self) -> dict[int, GraphColumns]:
        return {}

    def graph_columns(self, number: int) -> GraphColumns | None:
        """Return a graph structure by id; None when the file lacks it."""
        if number not in self._graphs:
            record = self.reader.record_with_id(Graph, number) if number >= 0 else None
            if record is None:
                return None
            while len(self._graphs) >= _KEPT_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[number] = GraphColumns(self, record)
        return self._graphs[number]

    def compiled(self, region: int) -> CompiledView | None:
        """Return a compiled region by its id, which a node's label has; None where it was not recorded."""
        record = self.reader.record_with_id(CompiledRegion, region) if region >= 0 else None
        return None if record is None else CompiledView(self, record)

    def ledger_table(self, number: int) -> LedgerTable | None:
        """Return a ledger by id; None when the file lacks it."""
        record = self.reader.record_with_id(Ledger, number) if number >= 0 else None
        return None if record is None else LedgerTable(self, record)

    def _calls(self, step: int, backward: int | None) -> list[BackwardView]:
        """Return a step's backward calls, or the one of that index. Raises UsageError when there is none."""
        calls = self.step(step).backwards
        if not calls:
            raise UsageError(f"Step {step} has no backward call.")
        chosen = [call for call in calls if backward in (None, call.index)]
        if not chosen:
            raise UsageError(f"Step {step} has backward calls 0 to {calls[-1].index}; there is no call {backward}.")
        return chosen

    def _namer(self, kind: SubjectKind, step: int) -> Callable[[int, int], str]:
        """Return what names a subject of a backward call."""
        if kind != "node":
            return partial(self._subject_name, kind)
        graphs = {call.index: call.graph_id for call in self.step(step).backwards}

        def name(backward: int, node: int) -> str:
            columns = self.graph_columns(graphs.get(backward, -1))
            return f"node {node}" if columns is None else columns.name(node)

        return name

    def _subject_name(self, kind: SubjectKind, _backward: int, subject: int) -> str:
        return self.names.subject_name(kind, subject)


def _last(calls: list[BackwardView], fits: Callable[[BackwardView], bool]) -> BackwardView | None:
    """The last call that fits: of the program's own, else of those that ran inside another."""
    fitting = [call for call in calls if fits(call)]
    own = [call for call in fitting if call.parent < 0]
    return (own or fitting or [None])[-1]

"""Answers the question of a stop: what are the gradients, what is the graph, what is held, of what a frame reaches.

Runs on the stopped thread, while everything else stands still: nothing here waits for another thread, or for a
device longer than the budget; none of the program's code runs, and its tensors stay as they are.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradwatch.capture import stop_tables
from gradwatch.capture.attach import attachment
from gradwatch.capture.deep_graphs import sweep
from gradwatch.capture.environment import run_record
from gradwatch.capture.fired import PENDING, running_call
from gradwatch.capture.inside import parameters_of
from gradwatch.capture.late_names import LateNames
from gradwatch.capture.lines import current_frame
from gradwatch.capture.running_gradients import running_gradients
from gradwatch.capture.scope import Scope, public_names, reach
from gradwatch.capture.shown import remember
from gradwatch.capture.statistics_layout import unseen
from gradwatch.capture.stop_callers import callers_of, name_from_callers
from gradwatch.capture.stop_gradients import About, GradientReader, as_one, states_record, statistics_records
from gradwatch.capture.stop_graph import StopGraph
from gradwatch.capture.stop_history import history
from gradwatch.capture.stop_place import place_of
from gradwatch.capture.stop_recording import recording_of, write_stop
from gradwatch.capture.stop_steps import StepCounts
from gradwatch.capture.stop_variables import default_root, is_leaf, root_named, variables_of
from gradwatch.capture.stopped_frame import frame_locals, names_of
from gradwatch.capture.torch_internals import check_torch
from gradwatch.capture.witnesses import look_from_now_on, running_recorder
from gradwatch.errors import UsageError
from gradwatch.records import Notice, Snapshot

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from gradwatch.capture.budget import Budget
    from gradwatch.capture.stop_gradients import Statistics
    from gradwatch.capture.stopped_frame import Standing
    from gradwatch.records import Run, Variable


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a stop: the frame, the parts wanted, whose graph, and which stop it is."""

    standing: Standing
    parts: frozenset[str]
    root: str | None
    token: object
    budget: Budget


_readers: list[GradientReader] = []


def snapshot(question: Question) -> Snapshot:
    """Answer the question. Raises UsageError for a root that the frame does not reach."""
    check_torch()
    with unseen():
        sweep()
        look_from_now_on(question.standing.frame)
        answer = _Answer(question)
        try:
            return answer.snapshot()
        finally:
            answer.names.look_further = None  # a cycle would keep the program's tensors until they are collected


class _Answer:
    """One answer while it is made: each step fills in what the next ones need."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.budget = question.budget
        self.number = history.begin(question.token)
        self.names = LateNames()
        self.notices: list[Notice] = []
        self.call = running_call(question.standing.frame)
        self.scope = Scope()
        self.variables: list[Variable] = []
        with self._part("scope"):
            self.scope = self._scope()
            self.variables = variables_of(self.scope, self.names)
        self.counts = StepCounts(self.scope, self.number)
        self.names.look_further = self._look_further if self.call is None else None
        self.root = self._chosen_root()
        self.graph: StopGraph | None = None

    def snapshot(self) -> Snapshot:
        with self._part("graph"):
            self._read_graph()
        answer = Snapshot(
            state="ready" if self._is_differentiable() else "nothing differentiable",
            run=_run(),
            stop=place_of(self.question.standing.frame, self.number, self.counts.step, self.call),
            variables=self.variables,
            root=self.root,
            modules=self.names.modules,
            parameters=self.names.parameters,
        )
        if self.graph is not None:
            answer = self.graph.added_to(answer)
        with self._part("gradients"):
            answer = self._with_gradients(answer)
        if answer.state != "ready":
            answer = replace(answer, callers=callers_of(self.question.standing, self.budget))
        answer = self._with_conditions(answer)
        self._remember(answer)
        answer = self._with_recording(answer)
        attached = attachment()
        self.notices += [] if attached is None else attached.notices
        return replace(answer, notices=self.notices, missing=self.budget.missing, cost_ms=self.budget.cost_ms)

    @contextmanager
    def _part(self, name: str) -> Generator[None]:
        """A part of the answer: its time is told, and its failure costs that part alone."""
        start = perf_counter()
        try:
            yield
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 # what the program's tensors may do is not to be foreseen
            self.budget.misses(name, f"{type(error).__name__}: {error}")
        self.budget.spent(name, start)

    # What the frame reaches

    def _scope(self) -> Scope:
        frame = self.question.standing.frame
        with frame_locals(self.question.standing) as local:
            names = public_names(names_of(frame, local))
        scope = reach(names, self.budget.is_over)
        if scope.left:
            self.budget.misses("scope", scope.left, scope.visited)
        if self.call is not None:  # a hook knows its module as `module`: whoever called backward knows it better
            self._look_further()
        for reached in scope.modules:
            self.names.add_root(reached.expression, reached.value)
        for reached in scope.tensors:
            self.names.name_tensor(reached.expression, reached.value)
            if is_leaf(reached.value):
                self.names.id_of(reached.value)
        for reached in scope.optimizers:
            for path, tensor in parameters_of(reached.value):
                if self.names.known_id(tensor) < 0:
                    self.names.add_leaf(f"{reached.expression}{path}", tensor)
        return scope

    def _look_further(self) -> None:
        start = self.question.standing.frame if self.call is None else self.call.caller
        name_from_callers(start, self.names, self.budget)

    def _is_differentiable(self) -> bool:
        return (
            self.graph is not None
            or self.call is not None
            or any(variable.requires_grad for variable in self.variables)
            or any(parameter.requires_grad for parameter in self.names.parameters)
        )

    def _chosen_root(self) -> int:
        """The variable whose graph is read, -1 for that of the running call, or none."""
        wanted = self.question.root
        if wanted is None:
            return -1 if self.call is not None else default_root(self.scope, self.variables)
        root = root_named(self.scope, self.variables, wanted)
        if root < 0:
            raise UsageError(
                f"{wanted!r} is no tensor with a graph that this frame reaches. Choose a variable that has a grad_fn, "
                "or none for the default."
            )
        return root

    def _root_tensor(self) -> torch.Tensor | None:
        return self.scope.tensors[self.root].value if self.root >= 0 else None

    # Graph and gradients

    def _read_graph(self) -> None:
        if not self.question.parts & {"graph", "held"}:
            return
        graph = StopGraph(self.names, self.budget, None if self.root >= 0 else self.call)
        graph.busy = None if self.call is None else self.call.node
        why_not = graph.read(self._root_tensor(), held="held" in self.question.parts)
        if why_not is not None:
            name = "the running call's graph" if self.root < 0 else self.variables[self.root].expression
            self.notices.append(Notice("not observable", f"{name} is {why_not}"))
        if graph.reading is not None:
            self.graph = graph
            self.notices += graph.notices()

    def _with_gradients(self, answer: Snapshot) -> Snapshot:
        if "gradients" not in self.question.parts:
            return answer
        leaves = self.names.leaves
        reader = _readers.pop() if _readers else GradientReader()  # threads that stand still may ask at once
        histograms = "histograms" in self.question.parts
        read = reader.read(leaves, self.budget, histograms=histograms)
        step = max(answer.stop.step, 0)
        records = [statistics_records(read.statistics, About(step, self.number))]
        records += [
            statistics_records(as_one(each, answer.stop.running), About(step, self.number, "node"))
            for each in self._of_running_node(answer, reader, histograms=histograms)
        ]
        _readers.append(reader)
        self.notices += read.statistics.notices
        changes = [
            history.note(leaf, gradient, norm, self.counts.of(leaf))
            for leaf, gradient, norm in zip(leaves, read.gradients, read.norms(), strict=True)
        ]
        return replace(
            answer,
            states=states_record(read, self.number, changes, self._pending(), self.counts.unit),
            gradients=[each for gradients, _ in records for each in gradients],
            histograms=[each for _, codes in records for each in codes],
        )

    def _of_running_node(self, answer: Snapshot, reader: GradientReader, *, histograms: bool) -> list[Statistics]:
        """What reached the running node, then what it made, as far as a frame holds these."""
        if self.call is None or answer.stop.running < 0:
            return []
        pair = running_gradients(current_frame(0), self.call.node)
        return [reader.read_tensors(list(tensors), self.budget, histograms=histograms) for tensors in pair if tensors]

    def _pending(self) -> list[bool]:
        states = {} if self.graph is None else self.graph.leaf_states()
        return [states.get(number) == PENDING for number in range(len(self.names.leaves))]

    # Who else must know

    def _with_conditions(self, answer: Snapshot) -> Snapshot:
        """The conditions that are set, and which of them stopped the thread; nothing where none ever was."""
        conditions: Any = sys.modules.get("gradwatch.capture.conditions")
        if conditions is None:
            return answer
        stopped = conditions.stopped()
        self.notices += conditions.notices()
        if stopped is not None:
            answer = replace(answer, stop=replace(answer.stop, condition=stopped[0], reason=stopped[1]))
        return replace(answer, conditions=conditions.current())

    def _remember(self, answer: Snapshot) -> None:
        leaves = self.names.leaves
        reading = None if self.graph is None else self.graph.reading
        expanded = -1 if reading is None else reading.walked.expanded
        values = [each.value for each in self.scope.all()]
        remember(self.number, leaves, values, self._root_tensor(), expanded=expanded)
        full = stop_tables.full_name
        stop_tables.remember_names(
            {full(each.root, each.path): leaves[each.id] for each in answer.parameters},
            {full(each.root, each.path): module for each, module in self.names.named_modules()},
        )
        if reading is not None:
            stop_tables.remember_structure(reading.graph.digest, reading.walked)

    def _with_recording(self, answer: Snapshot) -> Snapshot:
        recorder = running_recorder()
        if recorder is None:
            return answer
        with self._part("recording"):
            write_stop(recorder, answer, self.names.leaves)
        return replace(answer, recording=recording_of(recorder))


_runs: list[Run] = []


def _run() -> Run:
    if not _runs:
        _runs.append(run_record("modules", line_clock=hasattr(sys, "monitoring"), asks_programs=False))
    return _runs[0]

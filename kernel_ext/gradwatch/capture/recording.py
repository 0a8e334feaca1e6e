"""One recording's hooks and tables, and what happens at each event. `Recorder` owns its beginning and end."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from torch import nn

from gradwatch.capture.backward import BackwardCall, BackwardCalls
from gradwatch.capture.compiled_backward import NO_HOOKS, CompiledBackward, uses_compiled_autograd
from gradwatch.capture.compiled_graphs import CompiledGraphs
from gradwatch.capture.deep_graphs import sweep
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.graph_capture import GraphCapture, Lines, outputs_of, why_unobservable
from gradwatch.capture.held import PackFold
from gradwatch.capture.line_clock import LineClock
from gradwatch.capture.lines import CallSites
from gradwatch.capture.local_gradients import LocalGradients, part_seen
from gradwatch.capture.loss_scale import LossScales
from gradwatch.capture.module_hooks import ModuleHooks, OutputGradients
from gradwatch.capture.modules import ModuleTable
from gradwatch.capture.monitoring import is_supported
from gradwatch.capture.names import Namer
from gradwatch.capture.node_hooks import NodeHooks
from gradwatch.capture.observed import observers_of
from gradwatch.capture.observers import Observers
from gradwatch.capture.optimizers import OptimizerHooks
from gradwatch.capture.pack_hooks import NO_SITES, PackHooks
from gradwatch.capture.parameters import ParameterTable, Watched
from gradwatch.capture.probes import Cost, Probe
from gradwatch.capture.row_pool import RowPool
from gradwatch.capture.sites import SiteTable
from gradwatch.capture.statistics_layout import unseen
from gradwatch.capture.step_records import StepRecords, Tables
from gradwatch.capture.steps import OpenStep, Steps
from gradwatch.capture.swaps import TensorSwaps
from gradwatch.capture.told import once
from gradwatch.capture.torch_internals import (
    check_torch,
    compiled_autograd,
    sequence_number,
    tracing_state,
)
from gradwatch.capture.updates import Updates
from gradwatch.errors import RecordingError
from gradwatch.records import Graph, Ledger, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from gradwatch.capture.kept_steps import KeptSteps
    from gradwatch.capture.loss_scale import Omission
    from gradwatch.capture.trace import ForwardTrace
    from gradwatch.capture.trial import Trials
    from gradwatch.records import Detail, Record, StepSource
    from gradwatch.session.writer import SessionWriter


LEDGERS_LOOKED_AT = 64
"""How many ledgers, which differ with every size of a batch, have models looked at again for renamed parameters."""


class Recording:
    """Everything between start and stop. Each method called from a hook swallows its own errors."""

    def __init__(self, detail: Detail, *, held: bool) -> None:
        check_torch()
        self.detail = detail
        self.cost = Cost()
        self.sites = SiteTable()
        self.call_sites = CallSites(self.sites)
        self.clock: LineClock | None = None
        self._held = held
        self._notices: list[Notice] = []
        self._probes = {
            name: Probe(name, self._tell)
            for name in (
                "module",
                "graph",
                "compiled region",
                "parameter gradient",
                "local gradient",
                "module gradient",
                "node gradient",
                "saved tensor",
                "optimizer",
                "step",
                "kept step",
            )  # one switch each
        }
        self.parameters = ParameterTable(self._gradient_accumulated)
        self.namer = Namer(self.sites.origins)
        self.modules = ModuleTable(self.namer, self._root_found)
        self.trace: ForwardTrace | None = None
        self.trials: Trials | None = None
        self.wants_details = False
        self.observers = Observers(observers_of(detail), self._tell)
        self.calls = BackwardCalls(self._begin, self._end, self._failed)
        self.steps = Steps(self._step_ended, self._optimizes, self.parameters.versions)
        self.module_hooks = ModuleHooks(self.modules, self._probes["module"], self.cost, self._module_call_site)
        self.module_hooks.storages = self.parameters.storages
        self.module_hooks.observers = self.observers
        self.compiled = CompiledGraphs(self.modules, self.sites, self._probes["compiled region"])
        self.compiled.innermost_module = self.module_hooks.innermost
        self.compiled_backward = CompiledBackward(self._tell)
        self.optimizer_hooks = OptimizerHooks(self._before_optimizer, self._after_optimizer)
        told = (self._probes["optimizer"], self.cost)
        self.loss_scales = LossScales(told, self.optimizer_hooks.awaited, self._optimizer_unseen)
        self.loss_scales.latest_call = self.steps.latest_call
        self.local = LocalGradients((self.parameters, self.modules), (self._probes["local gradient"], self.cost))
        self.local.current, self.local.tell = self.calls.current, self._tell
        self.rows = RowPool()
        self.updates = Updates(self.rows)
        self.pack_hooks: PackHooks | None = None
        self.kept: KeptSteps | None = None
        self._marks: dict[int, int] = {}
        self._discovers = True
        self._told: set[int] = set()
        self._told_parts: set[str] = set()
        self.swaps = TensorSwaps(self.parameters)
        self._ledgers_seen = 0
        self._looked_at: set[tuple[int, int]] = set()
        self._outermost: list[BackwardCall] = []
        self._overlapping = threading.Lock()
        self._on = False

    # Beginning and end

    def start_lines(self) -> bool:
        """Start the line clock where there can be one and detail asks for it. False where there is none."""
        if not is_supported() or self.detail == "parameters":
            return False
        clock = LineClock(sequence_number, self.sites)
        try:
            clock.start()
        except RecordingError as error:
            self._tell(Notice("recorder", f"Lines come from module calls only: {error}"))
            return False
        self.clock = clock
        return True

    def stop_lines(self) -> None:
        if self.clock is not None:
            self.clock.stop()

    def start(self, writer: SessionWriter, roots: Mapping[str, nn.Module] | None) -> None:
        """Put the hooks in. `roots` None: whatever trains is found when it is first used."""
        self._began = perf_counter_ns()
        self.writer = writer
        self.records = StepRecords(
            writer,
            Tables(self.modules, self.parameters, self.sites),
            (self.cost, self._probes["step"]),
            self.rows.let_go,
        )
        lines = Lines(self.module_hooks.intervals, self.clock)
        self.graph = GraphCapture(lines, self.parameters, self.sites, self._write_now)
        self.graph.unknown_leaf = self._unknown_leaf
        self.graph.tell_once = once(self._tell)
        self.graph.compiled = self.compiled
        self._on = True
        self._discovers = True
        for name, root in (roots or {}).items():
            self.modules.add_root(name, root)
        self._discovers = roots is None
        self._roots = frozenset(roots or ())
        if self.detail != "parameters":
            self.module_hooks.outputs = OutputGradients(self._probes["module gradient"], self.cost, self.calls.current)
            self.module_hooks.outputs.tell_once = self.graph.tell_once
        if self.detail == "nodes":
            self._start_pack_hooks()
        self.graph.sees_recomputation = self.pack_hooks is not None and self.pack_hooks.sees_recomputation
        if roots is None or self.detail != "parameters" or self._held:
            self._tell_partial(self.module_hooks.start())
        else:
            self.local.start()
        if self._held:
            self.compiled.start()
        self.swaps.start()
        self.calls.start()
        self.optimizer_hooks.start()
        self.loss_scales.start()
        for notice in self._notices:
            self.records.write(notice)
        self.observers.start(self)
        self.observers.tell("step_begins", self.steps.number)
        if self.kept is not None:
            saw = self.kept.saw
            self.records.seen = lambda record: self._guarded("kept step", lambda: saw(record))
            self._guarded("kept step", self.kept.look)
            self._keep_between_steps()

    def stop(self) -> None:
        """Take the hooks out and write what is left."""
        self._remove_hooks()
        self._guarded("step", self._look_again)
        self._guarded("step", self.steps.finish)
        self.records.finish()
        if self.kept is not None:
            self.kept.stop()
        self.records.write_tables()
        sweep()

    def running_ns(self) -> int:
        """Nanoseconds since the hooks were put in."""
        return perf_counter_ns() - self._began

    def abandon(self) -> None:
        """Take the hooks out of a forked child."""
        self._remove_hooks()
        if self.kept is not None:
            self.kept.abandon()

    def _remove_hooks(self) -> None:
        self._on = False
        self.observers.stop()
        self.swaps.stop()
        self.calls.stop()
        self.optimizer_hooks.stop()
        self.loss_scales.stop()
        self.module_hooks.stop()
        self.compiled.stop()
        self.parameters.remove_hooks()
        self.local.stop()
        for call in self.calls.active:
            _remove(call.node_hooks)
        if self.pack_hooks is not None:
            self.pack_hooks.stop()
        self.stop_lines()

    def _start_pack_hooks(self) -> None:
        site = None if self.clock is not None else self._pack_call_site
        hooks = PackHooks(self._probes["saved tensor"], self.cost, site)
        reason = NO_HOOKS if uses_compiled_autograd() else hooks.start()
        if reason is not None:
            self._tell(Notice("partial", f"Held memory is read at each backward call only: {reason}."))
            return
        self.pack_hooks = hooks
        self.graph.pack_fold = PackFold()

    # Events

    def _begin(self, outputs: Sequence[Any], options: dict[str, Any]) -> BackwardCall | None:
        probe = self._probes["step"]
        if not probe.enabled or tracing_state() is not None:
            return None
        start = perf_counter_ns()
        call = None
        try:
            with unseen():
                sweep()
                call = self._new_call(options)
                if call.call == "backward" and call.is_outermost:
                    call.loss = self.loss_scales.read(outputs)
                self.steps.call_began(call)
                if call.is_outermost:
                    self._guarded("local gradient", lambda: self.local.begin(call))
                if self.compiled_backward.begins(
                    self.module_hooks.outputs, self.pack_hooks, local=self.local.is_attached
                ):
                    self.pack_hooks = self.graph.pack_fold = None
                self._read_graph(call, outputs)
                self._hook_nodes(call, outputs)
                if self._discovers and not self._held:
                    call.outputs = outputs
                if call.is_outermost:
                    self._guarded("local gradient", lambda: self.local.graph_was_read(call))
                    self._note_overlaps(call, outputs)
                if call.call == "backward":
                    call.gradient_states = self.parameters.gradient_states()
                self.observers.tell("backward_begins", call, outputs)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            probe.failed()
            self._give_up(call)
            return None
        except BaseException:  # the user's Ctrl-C: the call will not run
            self._give_up(call)
            raise
        self.cost.since(start)
        return call

    def _give_up(self, call: BackwardCall | None) -> None:
        if call is not None:
            call.outputs = ()
            call.walk = None
            call.ended = True
            self.local.end(call)
            if call in self._outermost:
                self._outermost.remove(call)

    def _note_overlaps(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        """Calls of several threads at once: each must know its leaves, to tell whose gradients changed."""
        with self._overlapping:
            for other in self._outermost:
                call.overlaps.append(other)
                other.overlaps.append(call)
            self._outermost.append(call)
        if call.overlaps and not call.leaves:
            self.graph.read_leaves(call, outputs)

    def _new_call(self, options: dict[str, Any]) -> BackwardCall:
        detailed = self.wants_details or self.steps.number % self.writer.detail_interval == 0
        rows = self.rows.new(histogram=detailed)
        return BackwardCall(
            call="backward" if options.get("accumulate_grad") else "grad",
            parent=self.calls.enclosing(),
            thread=threading.get_ident(),
            rows=rows,
            retain_graph=bool(options.get("retain_graph")),
            create_graph=bool(options.get("create_graph")),
            has_inputs=bool(options.get("inputs")),
            detailed=detailed,
            first_number=sequence_number(),
        )

    def call_of_now(self) -> BackwardCall:
        """A call that is not made, to read a graph of the running forward with. The caller gives its rows back."""
        return replace(self._new_call({}), parent=None, detailed=True)

    def _read_graph(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        probe = self._probes["graph"]
        if not probe.enabled or not call.detailed:
            return
        try:
            if call.is_outermost:
                self.module_hooks.outside_modules()
                if self.module_hooks.outputs is not None:
                    self.module_hooks.outputs.forget_last()
            self._replay_packs()
            if self._held or (self._discovers and not len(self.parameters)):
                self.graph.read(call, outputs)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            probe.failed()

    def _hook_nodes(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        """Read the gradients of module outputs, and at `nodes` of every node that was walked."""
        modules = self.module_hooks.outputs
        probe = self._probes["node gradient" if self.detail == "nodes" else "module gradient"]
        if modules is None or not probe.enabled or compiled_autograd() or why_unobservable(outputs) is not None:
            return
        try:
            walked = call.walk or walk(roots_of(outputs))
            owner = self.module_hooks.intervals.owner(call.thread)
            by_module = modules.awaited(owner, walked.nodes, walked.numbers.tolist())
            every = outputs_of(walked, outputs) if self.detail == "nodes" and call.walk is not None else {}
            for position, found in by_module.items():
                own = every.setdefault(position, {})
                for output_nr, subjects in found.items():
                    own[output_nr] = (own.get(output_nr, (-1, ()))[0], subjects)
            hooks = NodeHooks(call, (probe, self.cost))
            call.node_hooks.append(hooks)
            for position, awaited in every.items():
                hooks.add(walked.nodes[position], awaited)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            probe.failed()

    def _end(self, call: BackwardCall) -> None:
        start = perf_counter_ns()
        try:
            _remove(call.node_hooks)
            self.local.end(call)
            with unseen():
                self._guarded("parameter gradient", lambda: self._collect_gradients(call))
                self.observers.tell("backward_ends", call)
                call.walk = None  # holds the graph
                self._guarded("step", lambda: self._ended(call))
        except BaseException:  # the user's Ctrl-C: what was read is kept, what was not is missing
            self._give_up(call)
            raise
        self.cost.since(start)

    def _failed(self, call: BackwardCall, error: BaseException) -> None:
        start = perf_counter_ns()
        with unseen():
            self.observers.tell("backward_fails", call, error)
        self.cost.since(start)

    def program_failed(self, error: BaseException) -> None:
        """The program raised an error that ends it, or the block that is recorded."""
        with unseen():
            self.observers.tell("program_fails", error)

    def _ended(self, call: BackwardCall) -> None:
        # Not before its gradients were collected: an ended call may be claimed, written and given back.
        call.ended = True
        if call.is_outermost:
            with self._overlapping:
                self._outermost.remove(call)
            call.overlaps.clear()
        if call.create_graph:
            self.graph.lines.made_in_backward(call.thread, call.first_number, sequence_number())
        if call.is_outermost:
            self._outermost_ended(call)
        if self._on:
            self.steps.call_ended(call)

    def _guarded(self, name: str, body: Callable[[], None]) -> None:
        probe = self._probes[name]
        if probe.enabled:
            try:
                body()
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                probe.failed()

    def _outermost_ended(self, call: BackwardCall) -> None:
        if self.pack_hooks is not None:
            self._replay_packs()
            if self.graph.pack_fold is not None:
                call.curve = self.graph.pack_fold.take_curve()
        outputs = self.module_hooks.outputs
        if outputs is not None and not call.retain_graph:
            outputs.calls_done()
            outputs.prune()

    def _collect_gradients(self, call: BackwardCall) -> None:
        if call.call == "grad":
            return  # hands gradients to its caller, accumulates none
        changed = self.parameters.changed_since(call.gradient_states)
        call.gradient_states = []
        changed = [(watched, gradient) for watched, gradient in changed if watched.id not in call.read_early]
        if call.overlaps:
            changed = _mine_alone(call, changed)
        elif not self._held and call.error is None:
            changed += self._made_since(call, len(changed))
        call.outputs = ()
        rows = call.rows.add_many([gradient for _, gradient in changed])
        for (watched, _), row in zip(changed, rows, strict=True):
            self._note_gradient(call, watched, row)

    def _made_since(self, call: BackwardCall, changed: int) -> list[tuple[Watched, torch.Tensor]]:
        """Where graphs are not walked: leaves made since, looked for when the number of changed ones is a new one."""
        count = self.parameters.count
        if (changed, count) in self._looked_at:
            return []
        self._looked_at.add((changed, count))
        self._look_again()
        if call.outputs:
            self.graph.read_leaves(call, call.outputs)
        return self.parameters.added_since(count)

    def _optimizes(self, optimizer: torch.optim.Optimizer, calls: list[BackwardCall]) -> bool:
        """Whether the optimizer has a parameter that one of the calls reached."""
        reached = {number for call in calls for number, _ in (*call.parameter_rows, *call.local_rows)}
        leaves = (self.parameters.find(leaf) for group in optimizer.param_groups for leaf in group["params"])
        return any(watched is not None and watched.id in reached for watched in leaves)

    def _add_gradient(self, call: BackwardCall, watched: Watched, gradient: torch.Tensor) -> None:
        self._note_gradient(call, watched, call.rows.add(gradient))

    def _note_gradient(self, call: BackwardCall, watched: Watched, row: int) -> None:
        call.parameter_rows.append((watched.id, row))
        if row < 0 and watched.id not in self._told:
            self._told.add(watched.id)
            text = f"gradient: {call.rows.why_not}"
            self._tell(Notice("not observable", text, subject_kind="parameter", subject=watched.id))
        part = call.rows.labels.get(row)
        if part is not None and part not in self._told_parts:
            self._told_parts.add(part)
            self._tell(Notice("partial", part_seen(part)))

    def _gradient_accumulated(self, watched: Watched, leaf: torch.Tensor) -> None:
        probe = self._probes["parameter gradient"]
        call = self.calls.current()
        if call is None or not probe.enabled or not self._on:
            return
        start = perf_counter_ns()
        try:
            if leaf.grad is not None:
                self._add_gradient(call, watched, leaf.grad)
                call.read_early.add(watched.id)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            probe.failed()
        self.cost.since(start)

    def _before_optimizer(self, optimizer: torch.optim.Optimizer, number: int, has_closure: bool) -> None:  # noqa: FBT001 # OptimizerHooks' call
        start = perf_counter_ns()
        with unseen():
            self._guarded("optimizer", lambda: self._measure_before(optimizer, number, has_closure=has_closure))
            self.observers.tell("before_optimizer", optimizer, number)
        self.cost.since(start)

    def _measure_before(self, optimizer: torch.optim.Optimizer, number: int, *, has_closure: bool) -> None:
        self.steps.optimizer_begins()
        self._adopt_parameters_of(optimizer)
        self.updates.before(optimizer, number, self.parameters, has_closure=has_closure)

    def _after_optimizer(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        start = perf_counter_ns()
        if self.kept is not None:
            self._guarded("kept step", self.kept.look)
        with unseen():
            self._guarded("optimizer", lambda: self.updates.after(optimizer))
            measured = self.updates.take(optimizer)
            self.observers.tell("after_optimizer", optimizer, number)
            self._guarded("step", lambda: self.steps.optimizer_stepped(number, measured))
        self.cost.since(start)

    def _optimizer_unseen(self, optimizer: torch.optim.Optimizer, omission: Omission) -> None:
        """A scaler was asked for a step of the optimizer, and called none that its hooks see."""
        if self.kept is not None:
            self._guarded("kept step", self.kept.look)
        number = self.optimizer_hooks.id_of(optimizer)
        self._guarded("step", lambda: self.steps.optimizer_stepped(number, omission))

    def explicit_step(self) -> None:
        start = perf_counter_ns()
        if self.kept is not None:
            self._guarded("kept step", self.kept.look)
        with unseen():
            self._guarded("step", self.steps.explicit)
        self.cost.since(start)

    def begin_step(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """The program begins a step on this batch."""
        start = perf_counter_ns()
        kept = self.kept
        if kept is not None:
            kept.begins_in_calls = True
        with unseen():
            self._guarded("step", self.steps.begin)
        if kept is not None:
            models = dict(self.modules.roots())
            self._guarded("kept step", lambda: kept.begin(self.steps.number, models, (arguments, named)))
        self.cost.since(start)

    def _keep_between_steps(self) -> None:
        """Where the program does not say where a step begins: it does where the one before it ended."""
        kept = self.kept
        if kept is not None and not kept.begins_in_calls and self.steps.is_at_beginning:
            models = dict(self.modules.roots())
            self._guarded("kept step", lambda: kept.begin(self.steps.number, models, None))

    def _step_ended(self, step: OpenStep, source: StepSource, end_ns: int) -> None:
        sweep()
        self.observers.tell("step_ends", step)
        self.records.add(step, source, end_ns)
        if source != "backward" and self._on:
            self._keep_between_steps()
        if not self.calls.active:
            self.graph.lines.forget_before(self._marks)
            self._marks = self.module_hooks.intervals.marks()
            if self.module_hooks.outputs is not None:
                self.module_hooks.outputs.forget_older()
        if self._on:
            self.observers.tell("step_begins", self.steps.number)

    # Tables

    def _root_found(self, name: str, root: nn.Module) -> None:
        if self._discovers:
            self.parameters.add_module(name, root, self.modules.id_of)

    def _unknown_leaf(self, leaf: torch.Tensor) -> Watched | None:
        """A leaf that no table knows: a parameter made since, or one of no module."""
        if self.parameters.is_foreign(leaf):
            return None
        watched = None
        if isinstance(leaf, nn.Parameter):
            self._look_again()
            watched = self.parameters.find(leaf)
        if watched is None and self._discovers:
            frame = sys._getframe(2)  # the only way to the caller's names
            parameter = self.local.parameter_of(leaf)
            watched = self.parameters.add_leaf(parameter, self.namer.name_of(parameter, frame) or "leaf")
            if parameter is not leaf:
                self.parameters.stand_in(leaf, watched)
        if watched is None:
            self.parameters.foreign(leaf)
        return watched

    def _look_again(self) -> None:
        """Take in which parameters and modules the models have by now, and under which names."""
        for name, root in self.modules.roots():
            if name in self._roots or self._discovers:
                self.modules.look_again(name, root)
                self.parameters.add_module(name, root, self.modules.id_of)

    def _adopt_parameters_of(self, optimizer: torch.optim.Optimizer) -> None:
        """Parameters that only the optimizer knows. Their first gradient is read now: no hook saw it."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.is_leaf and self.parameters.find(parameter) is None:
                    watched = self._unknown_leaf(parameter)
                    call = self.steps.latest_call()
                    if watched is not None and call is not None and parameter.grad is not None:
                        self._add_gradient(call, watched, parameter.grad)

    # Small parts

    def _module_call_site(self) -> tuple[int, int]:
        return NO_SITES if self.clock is not None else self.call_sites.here(3)

    def _pack_call_site(self) -> tuple[int, int]:
        return self.call_sites.here(3)

    def _replay_packs(self) -> None:
        if self.pack_hooks is not None and self.graph.pack_fold is not None:
            self.graph.pack_fold.replay(self.pack_hooks.take_events(), self.graph.is_held)

    def write(self, record: Record) -> bool:
        """Write an observer's record, of the step that it names or of this one."""
        return self.records.write(record, getattr(record, "step", self.steps.number))

    def tell(self, notice: Notice) -> None:
        """Write a notice of this step."""
        self._tell(notice)

    def _write_now(self, record: Record) -> bool:
        # What is pruned, parametrized, moved or cast has another graph, or another ledger, from then on.
        self._ledgers_seen += isinstance(record, Ledger)
        if self._ledgers_seen <= LEDGERS_LOOKED_AT or isinstance(record, Graph):
            self._look_again()
        return self.records.write(record, self.steps.number)

    def _tell_partial(self, text: str | None) -> None:
        if text is not None:
            self._tell(Notice("partial", text))

    def _tell(self, notice: Notice) -> None:
        if self._on:
            self.records.write(replace(notice, step=self.steps.number), self.steps.number)
        else:
            self._notices.append(notice)


def _mine_alone(call: BackwardCall, changed: list[tuple[Watched, torch.Tensor]]) -> list[tuple[Watched, torch.Tensor]]:
    """Of gradients that changed while several calls ran: those of this call's graph."""
    if call.leaves:
        return [(watched, gradient) for watched, gradient in changed if watched.id in call.leaves]
    theirs = {number for other in call.overlaps for number in other.leaves}
    return [(watched, gradient) for watched, gradient in changed if watched.id not in theirs]


def _remove(hooks: list[Any]) -> None:
    for hook in hooks:
        hook.remove()
    hooks.clear()

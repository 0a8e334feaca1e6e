"""Stops inside backward: prehooks and post hooks on the nodes that conditions are about, for one call at a time.

NOTE [What the hooks hold]
A node owns its hooks, and nothing breaks a cycle through C++. So a hook's closure knows its call, which lets go of
the graph when it ends; handles are removed then. A call that was running before anyone joined it has no end that
is seen: it ends by a callback of the engine, or at the latest with the next call of its thread.

NOTE [Hooking a call that runs]
Hooks are put in from the stopped thread, or from a hook of the call itself, so the engine is not reading the
nodes' hook lists on this thread. Nodes that run on other devices meanwhile, without Python, are not waited for.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gradwatch.capture import engine_entry
from gradwatch.capture.condition_hits import hits
from gradwatch.capture.condition_targets import ConditionedGraph
from gradwatch.capture.conditioned_call import ONCE_PER_CALL, Armed, At, ConditionedCall, Gradients
from gradwatch.capture.deep_graphs import sweep
from gradwatch.capture.engine_threads import follow_this_thread
from gradwatch.capture.gradient_checks import Checks
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.probes import Probe
from gradwatch.capture.saved_roles import saved_tensors
from gradwatch.capture.stop_frame import show
from gradwatch.capture.torch_internals import compiled_autograd, graph_task, is_compiling, tracing_state
from gradwatch.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradwatch.capture.engine_entry import Entry


COMPILED = (
    "A backward call ran under compiled autograd, where nodes are not observable: conditions do not stop it. "
    "Switch compiled autograd off to stop inside backward."
)


@dataclass(frozen=True)
class Paused:
    """One stop: the condition that made it, why, and the gradients the node was given."""

    condition: int
    reason: str
    node: Any
    grad_outputs: Gradients


class BackwardStops:
    """Every call into the engine while there is a condition. `pause` is called with what the user sees."""

    def __init__(self, tell: Callable[[Notice], None]) -> None:
        self.pause: Callable[[dict[str, Any]], None] = show
        self.armed: tuple[Armed, ...] = ()
        self._tell = tell
        self._version = 0
        self._joined = False
        self._told_compiled = False
        self._calls: list[ConditionedCall] = []
        self._found: list[ConditionedCall] = []
        self._paused: dict[int, Paused] = {}
        self._lock = threading.RLock()

    def set(self, armed: Sequence[Armed]) -> None:
        """Replace the conditions, for calls that run as well. Without an enabled one, nothing of ours is left."""
        with self._lock:
            self._probe, self._checks = Probe("condition", self._tell), Checks()
            self._told_compiled = False
            self._replace(tuple(armed))
        if self._joined and not getattr(threading.current_thread(), "is_pydev_daemon_thread", False):
            self._arm_running()

    def _replace(self, armed: tuple[Armed, ...]) -> None:
        with self._lock:
            self.armed = armed
            self._version += 1
            self._join_or_leave()

    def _join_or_leave(self) -> None:
        with self._lock:
            wanted = any(each.condition.enabled for each in self.armed)
            if wanted and not self._joined:
                engine_entry.join(self._wrap)
            if self._joined and not wanted:
                engine_entry.leave(self._wrap)
                self._release_all()
            self._joined = wanted

    def paused_here(self) -> Paused | None:
        """The stop that this thread stands at."""
        return self._paused.get(threading.get_ident())

    # Calls

    def _wrap(self, original: Entry) -> Entry:
        def _engine_run_backward(t_outputs: Sequence[Any], *arguments: Any, **options: Any) -> Any:
            call = None if is_compiling() else self._begin(t_outputs, engine_entry.engine_options(arguments, options))
            if call is None:
                return original(t_outputs, *arguments, **options)
            try:
                return original(t_outputs, *arguments, **options)
            finally:
                self._end(call)

        return _engine_run_backward

    def _begin(self, outputs: Sequence[Any], options: dict[str, Any]) -> ConditionedCall | None:
        if not self._probe.enabled or tracing_state() is not None or self.paused_here() is not None:
            return None
        try:
            if compiled_autograd():
                self._tell_compiled()
                return None
            self._release_found()
            sweep()
            captures = bool(options.get("inputs")) and not options.get("accumulate_grad")
            call = self._new_call(outputs, captures=captures)
            if call is not None:
                self._calls.append(call)
                self._arm(call)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()
            return None
        return call

    def _new_call(self, outputs: Sequence[Any], *, captures: bool, begun: bool = False) -> ConditionedCall | None:
        if why_unobservable(outputs) is not None:
            return None
        thread = threading.get_ident()
        parent = next((call for call in reversed(self._calls) if call.thread == thread), None)
        spent: set[int] = set() if parent is None else parent.spent
        graph = ConditionedGraph(walk(roots_of(outputs)), begun=begun)
        return ConditionedCall(graph, outputs, thread, spent, captures)

    def _tell_compiled(self) -> None:
        if not self._told_compiled:
            self._told_compiled = True
            self._tell(Notice("not observable", COMPILED))

    def _end(self, call: ConditionedCall) -> None:
        self._calls.remove(call)
        call.release()
        sweep()

    def _release_all(self) -> None:
        for call in self._calls:  # they run on, without us
            for handle in call.handles.values():
                handle.remove()
            call.handles.clear()
            call.before, call.after, call.captured = {}, {}, {}
        for call in self._found:
            call.release()
        self._found.clear()

    # Calls that began before anyone joined

    def _arm_running(self) -> None:
        try:
            self._find_running()
            for call in (*self._calls, *self._found):
                self._arm(call)
        except Exception:  # noqa: BLE001 # as above
            self._probe.failed()

    def _find_running(self) -> None:
        here = threading.get_ident()
        frames = {here: sys._getframe()} | {k: v for k, v in sys._current_frames().items() if k != here}
        known = [call.outputs for call in (*self._calls, *self._found)]
        for thread, frame in frames.items():
            for depth, outputs in enumerate(engine_entry.running_outputs(frame)):
                if not any(outputs is each for each in known):
                    call = self._new_call(outputs, captures=False, begun=True)
                    if call is not None:
                        call.thread = thread
                        self._found.append(call)
                        if depth == 0 and graph_task() != -1:
                            _at_end_of_call(lambda ended=call: self._end_found(ended))

    def _end_found(self, call: ConditionedCall) -> None:
        if call in self._found:
            self._found.remove(call)
            call.release()

    def _release_found(self) -> None:
        """This thread begins a call: those found on it are over, unless it is inside one."""
        if self._found and graph_task() == -1:
            for call in [call for call in self._found if call.thread == threading.get_ident()]:
                self._end_found(call)

    # Hooks

    def _arm(self, call: ConditionedCall) -> None:
        call.version = self._version
        call.plan([each for each in self.armed if each.condition.enabled])
        for position in call.before:
            self._hook(call, position, after=False)
        for position in {*call.after, *call.captured}:
            self._hook(call, position, after=True)

    def _hook(self, call: ConditionedCall, position: int, *, after: bool) -> None:
        if (after, position) not in call.handles:
            node = call.graph.walked.nodes[position]
            register, hook = (
                (node.register_hook, self._after_hook) if after else (node.register_prehook, self._before_hook)
            )
            call.handles[after, position] = register(hook(call, position))

    def _before_hook(self, call: ConditionedCall, position: int) -> Callable[[Gradients], None]:
        def prehook(grad_outputs: Gradients) -> None:
            if not is_compiling():
                self._reached(call, At(position, grad_outputs))

        return prehook

    def _after_hook(self, call: ConditionedCall, position: int) -> Callable[[Gradients, Gradients], None]:
        def post_hook(grad_inputs: Gradients, grad_outputs: Gradients) -> None:
            if not is_compiling():
                self._reached(call, At(position, grad_outputs, grad_inputs))

        return post_hook

    def _reached(self, call: ConditionedCall, at: At) -> None:
        if not self._probe.enabled or self.paused_here() is not None or not call.handles:
            return
        try:
            follow_this_thread()
            if call.version != self._version:
                self._arm(call)
            met = [*hits(call, at, self._checks)]
            if met:
                self._stop(call, at, met)
        except Exception:  # noqa: BLE001 # as above
            self._probe.failed()

    def _stop(self, call: ConditionedCall, at: At, met: list[tuple[Armed, str]]) -> None:
        for armed, _ in met:
            armed.hits += 1
            if armed.condition.kind in ONCE_PER_CALL:
                call.spent.add(id(armed))
        armed, reason = met[0]
        shown = self._shown(call, at, reason)
        self._end_step()
        thread = threading.get_ident()
        self._paused[thread] = Paused(armed.condition.id, reason, shown["node"], at.grad_outputs)
        try:
            self.pause(shown)
        finally:
            del self._paused[thread]
            self._join_or_leave()
        if call.version != self._version and call.handles:
            self._arm(call)

    def _end_step(self) -> None:
        """A stop ends the step that was asked for, as in any debugger.

        Hooks stay until the program goes on: most often the next step is asked for at this stop.
        """
        left = tuple(armed for armed in self.armed if armed.condition.kind != "next node")
        if len(left) < len(self.armed):
            with self._lock:
                self.armed = left
                self._version += 1

    def _shown(self, call: ConditionedCall, at: At, reason: str) -> dict[str, Any]:
        node, places = call.graph.walked.nodes[at.position], call.graph.places
        module = places.modules[at.position]
        lines = places.lines[at.position]
        return {
            "node": node,
            "grad_outputs": at.grad_outputs,
            "grad_inputs": at.grad_inputs,
            "saved_tensors": saved_tensors(node),
            "module": places.objects.get(module, module) or None,
            "forward_line": lines[-1] if lines else None,
            "reason": reason,
        }


def _at_end_of_call(callback: Callable[[], None]) -> None:
    engine: Any = torch.autograd.Variable._execution_engine
    engine.queue_callback(callback)

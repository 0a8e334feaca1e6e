"""Perfetto and chrome://tracing: a Chrome trace in JSON, times in microseconds from the recording's start.

Steps, backward calls on their threads, what modules' tensors were let go when, counters of loss, gradient norm and
held memory. JSON has no NaN: a loss or norm that is not finite is an instant event that says so, and no counter.
"""

from __future__ import annotations

import json
import math
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gradwatch.records import Backward, Gradients, Held, Step
from gradwatch.reporters.exports.held_events import COUNTED_CLASSES
from gradwatch.reporters.exports.run_tables import loss_of
from gradwatch.reporters.exports.source import call_of, cut
from gradwatch.reporters.exports.tensorboard import of_parameters, true_norms
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gradwatch.reporters.exports.source import Source

READS = (Step, Backward, Held, Gradients)

Event = dict[str, Any]

_STEPS, _RELEASED, _FIRST_THREAD = 1, 2, 3
_NAMED_NONFINITE = 8
_MOST_THREADS = 1000


def write_perfetto(source: Source, path: Path) -> int:
    """Write the trace; return the number of events."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        return _write(file, _Trace(source).events())


def _write(file: IO[str], events: Iterator[Event]) -> int:
    count = 0
    file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
    for event in events:
        file.write(",\n" if count else "")
        file.write(json.dumps(event, allow_nan=False))
        count += 1
    file.write("\n]}\n")
    return count


class _Trace:
    """The events of one session, which is one process of the trace."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._run = source.session.run
        self._threads: dict[int, int] = {}
        first = source.session.steps[0].start_ns if len(source.session.steps) else self._run.start_ns
        self._start_ns = min(first, self._run.start_ns)

    def events(self) -> Iterator[Event]:
        program = cut(" ".join(self._run.argv) or "gradwatch")
        rank = f" (rank {self._run.rank})" if self._run.world_size > 1 else ""
        yield self._called("process_name", 0, f"{program}{rank}")
        yield self._called("thread_name", _STEPS, "steps")
        yield self._called("thread_name", _RELEASED, "let go in backward, by module")
        for step in self._source.records(Step):
            yield from self._step(step)
        for call in self._source.records(Backward):
            yield from self._backward(call)
        for held in self._source.records(Held):
            with self._source.losing_damaged():
                yield from self._held(held)
        for step, records in self._source.by_step(Gradients):
            with self._source.losing_damaged():
                yield from self._gradients(step, records)

    def _step(self, step: Step) -> Iterator[Event]:
        loss = loss_of(step)
        arguments = {
            "loss": _number(loss),
            "backward calls": step.backward_count,
            "optimizer steps": step.optimizer_count,
        }
        if step.interrupted:
            arguments["interrupted"] = cut(step.interrupted)
        yield self._slice(f"step {step.number}", _STEPS, (step.start_ns, step.end_ns), arguments)
        if loss is not None:
            yield self._counter_or_mark("loss", step.end_ns, loss)

    def _backward(self, call: Backward) -> Iterator[Event]:
        thread = self._threads.get(call.thread)
        if thread is None:
            thread = self._threads[call.thread] = _FIRST_THREAD + min(len(self._threads), _MOST_THREADS)
            yield self._called("thread_name", thread, f"backward, thread {call.thread}")
        arguments: Event = {"step": call.step, "call": call.index, "graph": call.graph}
        if call.held_bytes >= 0:
            arguments["held bytes"] = call.held_bytes
        for key, text in (("error", call.error), ("not observable", call.unobserved)):
            if text:
                arguments[key] = cut(text)
        name = "backward()" if call.call == "backward" else "autograd.grad()"
        yield self._slice(name, thread, (call.start_ns, call.start_ns + call.duration_ns), arguments)

    def _held(self, held: Held) -> Iterator[Event]:
        call = call_of(self._source, held.step, held.backward)
        if call is None:
            return
        times = as_array(held.curve_ns, self._source.session.path).tolist()
        sizes = as_array(held.curve_bytes, self._source.session.path, len(times)).tolist()
        for time, size in zip(times, sizes, strict=True):
            yield self._counter("held for backward", call.start_ns + time, {"bytes": size})
        yield from self._released(held, call)

    def _released(self, held: Held, call: Backward) -> Iterator[Event]:
        """Slices from the first to the last storage that autograd let go of, module after module."""
        ledger = self._source.session.ledger_table(held.ledger)
        if ledger is None:
            return
        count = ledger.record.storage_count
        released = as_array(held.released_ns, self._source.session.path, count).astype(np.int64)
        counted = (released >= 0) & np.isin(ledger.storage_class, COUNTED_CLASSES)
        order = [index for index in np.argsort(released, kind="stable").tolist() if counted[index]]
        run: list[int] = []
        module = ""
        for storage in [*order, -1]:
            row = int(ledger.charged_row[storage]) if storage >= 0 else -1
            name = (ledger.module(row) if row >= 0 else "") or "(no module)"
            if run and (storage < 0 or name != module):
                first, last = int(released[run[0]]), int(released[run[-1]])
                arguments = {"bytes": int(ledger.storage_bytes[run].sum()), "storages": len(run)}
                arguments |= {"step": held.step, "times": held.release_source}
                yield self._slice(module, _RELEASED, (call.start_ns + first, call.start_ns + last), arguments)
                run = []
            run.append(storage)
            module = name

    def _gradients(self, step: int, records: list[Gradients]) -> Iterator[Event]:
        norms: dict[str, float] = {}
        for record in of_parameters(records):
            rows = self._source.rows(record)
            norms |= dict(zip(self._source.names(record), true_norms(rows).tolist(), strict=True))
        if not norms:
            return
        view = self._source.session.step(step)
        time = view.end_ns if view.complete else view.start_ns
        yield self._counter_or_mark("gradient norm", time, _total(list(norms.values())))
        bad = [name for name, norm in norms.items() if not math.isfinite(norm)]
        if bad:
            arguments = {"parameters": len(bad), "first": ", ".join(bad[:_NAMED_NONFINITE])}
            yield self._mark(f"gradients of {len(bad)} parameters are not finite", time, arguments)

    def _counter_or_mark(self, name: str, time_ns: int, value: float) -> Event:
        if math.isfinite(value):
            return self._counter(name, time_ns, {name: value})
        return self._mark(f"{name} is {_number(value)}", time_ns, {})

    def _called(self, what: str, thread: int, name: str) -> Event:
        return {"ph": "M", "name": what, "pid": self._process, "tid": thread, "args": {"name": name}}

    def _slice(self, name: str, thread: int, span: tuple[int, int], arguments: Event) -> Event:
        start, end = span
        times = {"ts": self._time(start), "dur": max(end - start, 0) / 1000}
        return {
            "ph": "X",
            "name": cut(name),
            "cat": "gradwatch",
            "pid": self._process,
            "tid": thread,
            **times,
            "args": arguments,
        }

    def _counter(self, name: str, time_ns: int, values: Event) -> Event:
        return {"ph": "C", "name": name, "pid": self._process, "ts": self._time(time_ns), "args": values}

    def _mark(self, name: str, time_ns: int, arguments: Event) -> Event:
        place = {"pid": self._process, "tid": _STEPS, "ts": self._time(time_ns)}
        return {"ph": "i", "s": "p", "name": name, "cat": "gradwatch", **place, "args": arguments}

    def _time(self, time_ns: int) -> float:
        return (time_ns - self._start_ns) / 1000

    @property
    def _process(self) -> int:
        return self._run.pid


def _total(norms: list[float]) -> float:
    """Return the norm over all; hypot alone would let an infinity hide a NaN."""
    return math.nan if any(map(math.isnan, norms)) else math.hypot(*norms)


def _number(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinities: they are said in words."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

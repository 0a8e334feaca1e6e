"""Turns an ended step into records and hands them to the session writer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import chain
from time import time_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture.device_values import is_capturing
from gradwatch.capture.graph import column
from gradwatch.capture.held import held_from_hooks, held_from_walk
from gradwatch.records import (
    Backward,
    Column,
    Gradients,
    Histograms,
    ModuleOutputs,
    Modules,
    Parameters,
    Sites,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.modules import ModuleTable
    from gradwatch.capture.parameters import ParameterTable
    from gradwatch.capture.probes import Cost, Probe
    from gradwatch.capture.sites import SiteTable
    from gradwatch.capture.statistics import StatisticRows
    from gradwatch.capture.steps import OpenStep
    from gradwatch.records import Record, StepSource, SubjectKind
    from gradwatch.session.writer import SessionWriter


@dataclass(slots=True)
class Tables:
    """What is written once, when it is first referred to."""

    modules: ModuleTable
    parameters: ParameterTable
    sites: SiteTable

    def new_records(self) -> Iterator[Record]:
        modules, outputs = self.modules.take_records()
        if modules:
            yield Modules(modules)
        if outputs:
            yield ModuleOutputs(outputs)
        if parameters := self.parameters.take_records():
            yield Parameters(parameters)
        if sites := self.sites.new_sites():
            yield Sites(sites)
        yield from self.sites.new_sources()


@dataclass(slots=True)
class EndedStep:
    """A step whose statistics may still be on their way from the device."""

    step: OpenStep
    source: StepSource
    end_ns: int
    cost_ns: int

    def start_copies(self) -> None:
        """All at once: a copy that begins when the one before it has landed comes a step late."""
        for each in [*self.step.calls, *self.step.optimizers]:
            each.rows.flush()

    def is_ready(self) -> bool:
        step = self.step
        return (
            all(call.rows.is_ready() and (call.loss is None or call.loss.is_ready()) for call in step.calls)
            and all(each.is_ready() for each in step.optimizers)
            and all(each.is_ready() for each in step.omissions)
        )


class StepRecords:
    """Writes ended steps in order, each as soon as its statistics have arrived."""

    def __init__(
        self,
        writer: SessionWriter,
        tables: Tables,
        clock: tuple[Cost, Probe],
        release: Callable[[StatisticRows], None],
    ) -> None:
        self._writer = writer
        self._tables = tables
        self._cost, self._probe = clock
        self._cost_before = 0
        self._release = release
        self._waiting: deque[EndedStep] = deque()
        self.written = 0
        self.seen: Callable[[Record], None] | None = None
        """Who else looks at the records of a step, the last of which is its Step. Must not raise."""

    def add(self, step: OpenStep, source: StepSource, end_ns: int) -> None:
        """Queue an ended step and write what is ready."""
        spent = self._cost.nanoseconds - self._cost_before
        self._cost_before = self._cost.nanoseconds
        ended = EndedStep(step, source, end_ns, spent)
        self._waiting.append(ended)
        if is_capturing():
            return  # no copy of ours, and no question to the device, may become part of the program's graph
        ended.start_copies()
        while self._waiting and self._waiting[0].is_ready():
            self._write_step(self._waiting.popleft())

    def finish(self) -> None:
        """Write what is left, waiting for the device."""
        while self._waiting:
            self._write_step(self._waiting.popleft())

    def write(self, record: Record, step: int = 0) -> bool:
        """Write one record now, after what it may refer to."""
        self.write_tables()
        return self._writer.write(record, time_ns=time_ns(), step=step)

    def write_tables(self) -> None:
        for record in self._tables.new_records():
            self._writer.write(record, time_ns=time_ns())

    def _write_step(self, ended: EndedStep) -> None:
        self.write_tables()
        step = ended.step
        for call in step.calls:
            self._write_each(_call_records(step.number, call), ended)
        self._write_each((measured.record(step.number) for measured in step.optimizers), ended)
        for each in [*step.calls, *step.optimizers]:
            self._release(each.rows)
        record = _step_record(ended)
        self._writer.write(record, time_ns=ended.end_ns, step=step.number)
        if self.seen is not None:
            self.seen(record)
        self._writer.end_step()
        self.written += 1

    def _write_each(self, records: Iterator[Record], ended: EndedStep) -> None:
        # What fails here costs the records that were still to come of this call, not the step.
        try:
            for record in records:
                self._writer.write(record, time_ns=ended.end_ns, step=ended.step.number)
                if self.seen is not None:
                    self.seen(record)
        except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
            self._probe.failed()


def _step_record(ended: EndedStep) -> Step:
    step = ended.step
    read = [call.loss.loss_and_scale() for call in reversed(step.calls) if call.loss is not None]
    loss = next((loss for loss, _ in read if loss is not None), None)
    skips = sum(omission.is_skip() for omission in step.omissions)
    finite = loss is not None and bool(np.isfinite(loss))
    interrupted = next((call.error for call in step.calls if call.error), None)
    return Step(
        number=step.number,
        source=ended.source,
        start_ns=step.start_ns,
        end_ns=ended.end_ns,
        backward_count=len(step.calls),
        optimizer_count=len(step.stepped) - skips,
        cost_ns=ended.cost_ns,
        loss=loss if finite else None,
        loss_nonfinite=None if loss is None or finite else _spell(loss),
        interrupted=interrupted,
        loss_scale=next((scale for _, scale in read if scale is not None), None),
        skipped=skips > 0 or any(measured.is_skip() for measured in step.optimizers),
    )


def _spell(value: float) -> Any:
    return "nan" if np.isnan(value) else "inf" if value > 0 else "-inf"


def _call_records(step: int, call: BackwardCall) -> Iterator[Record]:
    yield Backward(
        step=step,
        index=call.index,
        call=call.call,
        parent=call.parent.index if call.parent is not None else -1,
        graph=call.graph,
        ledger=call.ledger,
        start_ns=call.start_ns,
        duration_ns=max(0, call.end - call.start),
        retain_graph=call.retain_graph,
        create_graph=call.create_graph,
        has_inputs=call.has_inputs,
        thread=call.thread,
        held_bytes=call.held_bytes,
        class_bytes=call.class_bytes,
        error=call.error,
        unobserved=call.unobserved,
    )
    kinds: list[tuple[SubjectKind, list[tuple[int, int]]]] = [
        ("parameter", call.parameter_rows),
        ("local", call.local_rows),
        ("module", call.module_rows),
        ("node", call.node_rows),
    ]
    if any(found for _, found in kinds):
        columns = call.rows.columns()
        codes = call.rows.histogram_codes() if call.rows.histogram else None
        for kind, found in kinds:
            yield from _gradient_records((step, call.index, kind), found, columns, codes)
    if call.saved is not None and call.order is not None and call.ledger >= 0:
        if call.curve is not None:
            yield held_from_hooks(step, call, call.curve, call.order)
        else:
            yield held_from_walk(step, call, call.order)


def _gradient_records(
    where: tuple[int, int, SubjectKind],
    found: list[tuple[int, int]],
    all_columns: dict[str, NDArray[Any]],
    all_codes: NDArray[np.uint8] | None,
) -> Iterator[Gradients | Histograms]:
    pairs = np.reshape(np.fromiter(chain.from_iterable(found), np.int64, 2 * len(found)), (-1, 2))
    pairs = pairs[pairs[:, 1] >= 0]
    if not len(pairs):
        return
    subjects, rows = pairs[:, 0], pairs[:, 1]
    columns = {name: values[rows] for name, values in all_columns.items()}
    codes = None if all_codes is None else all_codes[rows]
    if len(set(subjects.tolist())) < len(subjects):
        subjects, columns, codes = merge_rows(subjects, columns, codes)
    ids = column(subjects, "<u4")
    yield Gradients(
        *where, ids, {name: Column(_dtype_text(values), values.tobytes()) for name, values in columns.items()}
    )
    if codes is not None:
        yield Histograms(*where, ids, Column("|u1", codes.tobytes()))


def _dtype_text(values: Any) -> str:
    return values.dtype.str


def merge_rows(
    subjects: NDArray[np.int64], columns: dict[str, NDArray[Any]], codes: NDArray[np.uint8] | None
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]], NDArray[np.uint8] | None]:
    """One row per subject: a node with several outputs, or a module whose output several paths return."""
    distinct, at = np.unique(subjects, return_inverse=True)
    count = len(distinct)
    finite = columns["count"] - columns["nan"] - columns["inf"]
    merged: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if name == "min":
            out = np.full(count, np.inf)
            np.fmin.at(out, at, values)
        elif name == "max":
            out = np.full(count, -np.inf)
            np.fmax.at(out, at, values)
        elif name == "mean":
            sums = np.bincount(at, np.where(finite > 0, values, 0) * finite, count)
            out = sums / np.maximum(np.bincount(at, finite, count), 1)
        elif name == "l2":
            out = np.sqrt(np.bincount(at, values.astype(float) ** 2, count))
        else:
            out = np.bincount(at, values, count)
        merged[name] = out.astype(values.dtype)
    _blank_where_nothing_is_finite(merged, np.bincount(at, finite, count) == 0)
    return distinct, merged, None if codes is None else _merge_codes(at, codes, count)


def _blank_where_nothing_is_finite(columns: dict[str, NDArray[Any]], nothing: NDArray[np.bool_]) -> None:
    for name in ("min", "max", "mean"):
        columns[name][nothing] = np.nan


def _merge_codes(at: NDArray[np.int64], codes: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    counts = np.where(codes > 0, 2.0 ** ((codes.astype(float) - 1) / 8), 0.0)
    sums = np.zeros((count, codes.shape[1]))
    np.add.at(sums, at, counts)
    return np.where(sums > 0, 1 + np.round(8 * np.log2(np.maximum(sums, 1))), 0).astype(np.uint8)

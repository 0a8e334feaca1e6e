"""TensorBoard: an event file with loss, gradient norms, update ratios and held memory as scalars, and histograms.

A norm is NaN where its gradient has a NaN, and infinite where it has an Inf: the recorded one is of the finite
values. Histograms are of log2|gradient| over values that are finite and not zero, for that is what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gradwatch.records import HISTOGRAM_BINS, Backward, Gradients, Held, Histograms, OptimizerStep, Step
from gradwatch.reporters.exports.event_file import EventFile, histogram, scalar
from gradwatch.reporters.exports.run_tables import loss_of
from gradwatch.reporters.exports.source import cut, of_calls
from gradwatch.session.columns import HISTOGRAM_EDGES, as_array, decode_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from gradwatch.reporters.exports.source import Source
    from gradwatch.session.gradients import GradientRows

READS = (Step, Backward, Held, Gradients, OptimizerStep, Histograms)

A = TypeVar("A")
R = TypeVar("R", Gradients, Histograms)

Values = dict[str, bytes]
"""Encoded values of one step by tag: of several backward calls' the last holds."""


def write_tensorboard(source: Source, folder: Path) -> int:
    """Write one event file, whose name is the same for the same session; return the number of events."""
    run = source.session.run
    host = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in run.hostname)[:64]
    start = run.start_ns // 1_000_000_000
    events = 0
    with (folder / f"events.out.tfevents.{start}.{host}.{run.pid}.{run.rank}").open("wb") as file:
        out = EventFile(file, run.start_ns / 1e9)
        for step, values in _all_values(source):
            if values:
                out.add(_wall_time(source, step), step, values.values())
                events += 1
    return events


def _all_values(source: Source) -> Iterator[tuple[int, Values]]:
    yield from _each_step(source, Step, _step_values)
    yield from _each_step(source, Backward, _backward_values)
    yield from _each_step(source, Held, _held_values)
    yield from _each_step(source, Gradients, _gradient_values)
    yield from _each_step(source, OptimizerStep, _optimizer_values)
    yield from _each_step(source, Histograms, _histogram_values)


def _each_step(
    source: Source, record_type: type[A], values_of: Callable[[Source, list[A]], Values]
) -> Iterator[tuple[int, Values]]:
    for step, records in source.by_step(record_type):
        with source.losing_damaged():
            yield step, values_of(source, records)


def _step_values(_source: Source, steps: list[Step]) -> Values:
    losses = [loss for step in steps if (loss := loss_of(step)) is not None]
    return {"loss": scalar("loss", losses[-1])} if losses else {}


def _backward_values(_source: Source, calls: list[Backward]) -> Values:
    tag = "held for backward/bytes when backward began"
    held = [call.held_bytes for call in calls if call.held_bytes >= 0]
    return {tag: scalar(tag, max(held))} if held else {}


def _held_values(_source: Source, records: list[Held]) -> Values:
    tag = "held for backward/peak bytes"
    return {tag: scalar(tag, max(record.peak_bytes for record in records))}


def _gradient_values(source: Source, records: list[Gradients]) -> Values:
    values: Values = {}
    for record in of_parameters(records):
        rows = source.rows(record)
        norms = true_norms(rows)
        for name, norm, nan, inf in zip(
            source.names(record), norms.tolist(), rows.nan.tolist(), rows.inf.tolist(), strict=True
        ):
            values[f"n{name}"] = scalar(f"gradient norm/{name}", norm)
            if nan > 0 or inf > 0:
                tag = f"gradient NaN and Inf values/{name}"
                values[f"f{name}"] = scalar(tag, max(nan, 0) + max(inf, 0))
    return values


def _optimizer_values(source: Source, records: list[OptimizerStep]) -> Values:
    values: Values = {}
    for record in records:
        column = record.columns.get("update_ratio")
        if column is None:
            continue
        subjects: list[int] = as_array(record.subjects, source.session.path).tolist()
        ratios: list[float] = as_array(column, source.session.path, len(subjects)).tolist()
        for number, ratio in zip(subjects, ratios, strict=True):
            tag = f"update ratio/{cut(source.session.names.subject_name('parameter', number))}"
            values[tag] = scalar(tag, ratio)
    return values


def _histogram_values(source: Source, records: list[Histograms]) -> Values:
    values: Values = {}
    for record in of_parameters(records):
        names, path = source.names(record), source.session.path
        codes = as_array(record.codes, path, len(names) * HISTOGRAM_BINS)
        counts = decode_histograms(np.reshape(codes, (-1, HISTOGRAM_BINS)))
        for name, row in zip(names, counts, strict=True):
            bins = np.flatnonzero(row)
            if len(bins):
                low, high = int(bins[0]), int(bins[-1]) + 1
                edges = HISTOGRAM_EDGES[low : high + 1].tolist()
                values[name] = histogram(f"log2 of gradient/{name}", edges, row[low:high].tolist())
    return values


def of_parameters(records: list[R]) -> list[R]:
    """Keep what backward calls left in parameters, in order of the calls."""
    kept = [record for record in of_calls(iter(records)) if record.subject_kind == "parameter"]
    return sorted(kept, key=lambda record: record.backward)


def true_norms(rows: GradientRows) -> NDArray[np.float64]:
    """Return L2 norms that are NaN, or infinite, where the gradients have such values."""
    norms = np.where(rows.inf > 0, np.inf, rows.norm)
    return np.where(rows.nan > 0, np.nan, norms)


def _wall_time(source: Source, step: int) -> float:
    with source.losing_damaged():
        view = source.session.step(step)
        return (view.end_ns if view.complete else view.start_ns) / 1e9
    return source.session.run.start_ns / 1e9

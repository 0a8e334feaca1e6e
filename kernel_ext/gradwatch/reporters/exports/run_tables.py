"""Tables of the run itself: steps, backward calls, parameters, and what could not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.records import Backward, Step
from gradwatch.reporters.exports.columns import Batch, Column, Table, in_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.reporters.exports.source import Source

_NONFINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def loss_of(step: Step) -> float | None:
    """Return the loss, NaN and infinities included; None when no scalar was seen."""
    return _NONFINITE.get(step.loss_nonfinite or "", step.loss)


def _steps(source: Source, table: Table) -> Iterator[Batch]:
    rows = (
        (
            step.number,
            loss_of(step),
            step.source,
            step.start_ns,
            step.end_ns,
            step.end_ns - step.start_ns,
            step.backward_count,
            step.optimizer_count,
            step.cost_ns,
            step.interrupted,
            step.loss_scale,
            step.skipped,
        )
        for step in source.records(Step)
    )
    return in_batches(source, table, rows)


def _backwards(source: Source, table: Table) -> Iterator[Batch]:
    rows = (
        (
            call.step,
            call.index,
            call.call,
            call.parent,
            call.graph,
            call.ledger,
            call.start_ns,
            call.duration_ns,
            call.retain_graph,
            call.create_graph,
            call.held_bytes,
            call.error,
            call.unobserved,
        )
        for call in source.records(Backward)
    )
    return in_batches(source, table, rows)


def _parameters(source: Source, table: Table) -> Iterator[Batch]:
    rows = (
        (
            view.id,
            view.name,
            view.module,
            ", ".join(map(str, view.shape)),
            view.dtype,
            view.device,
            view.numel,
            view.bytes,
            view.requires_grad,
            ", ".join(view.aliases),
        )
        for view in source.session.parameters
    )
    return in_batches(source, table, rows)


def _notices(source: Source, table: Table) -> Iterator[Batch]:
    notices = source.session.notices
    within = (notice for notice in notices if source.steps is None or notice.step < 0 or notice.step in source.steps)
    rows = ((notice.step, notice.kind, notice.text, notice.probe) for notice in within)
    return in_batches(source, table, rows)


STEPS = Table(
    "steps",
    "One row per completed step.",
    (
        Column("step", "int64", "number of the step"),
        Column("loss", "float64", "the last scalar that backward() was called on; empty where there was none"),
        Column("source", "text", "what ended the step: optimizer, recorder.step or backward"),
        Column("start_ns", "int64", "start, ns since the epoch"),
        Column("end_ns", "int64", "end, ns since the epoch"),
        Column("duration_ns", "int64", "length in ns"),
        Column("backward_count", "int64", "backward calls"),
        Column("optimizer_count", "int64", "optimizer steps"),
        Column("cost_ns", "int64", "time spent in gradwatch"),
        Column("interrupted", "text", "why it did not end in order"),
        Column("loss_scale", "float64", "what a GradScaler multiplied the loss with; empty where none did"),
        Column("skipped", "bool", "the GradScaler found NaN or Inf: the parameters stayed as they were"),
    ),
    (Step,),
    _steps,
)
BACKWARDS = Table(
    "backwards",
    "One row per call into autograd.",
    (
        Column("step", "int64", "number of the step"),
        Column("backward", "int64", "index of the call in the step"),
        Column("call", "text", "backward or grad"),
        Column("parent", "int64", "index of the call that it ran inside", missing=-1),
        Column("graph", "int64", "id of its graph, as in nodes and edges", missing=-1),
        Column("ledger", "int64", "id of what was saved for it", missing=-1),
        Column("start_ns", "int64", "start, ns since the epoch"),
        Column("duration_ns", "int64", "length in ns"),
        Column("retain_graph", "bool", "the graph was to be kept"),
        Column("create_graph", "bool", "a graph of the gradients was made"),
        Column("held_bytes", "int64", "bytes held for backward when it began, storages once", missing=-1),
        Column("error", "text", "the error that ended it"),
        Column("unobserved", "text", "why its graph or what it held could not be read"),
    ),
    (Backward,),
    _backwards,
)
PARAMETERS = Table(
    "parameters",
    "One row per parameter; of all steps.",
    (
        Column("parameter", "int64", "id, as subject in gradients"),
        Column("name", "text", "name"),
        Column("module", "text", "name of its module"),
        Column("shape", "text", "sizes, separated by commas"),
        Column("dtype", "text", "dtype"),
        Column("device", "text", "device"),
        Column("numel", "int64", "elements"),
        Column("bytes", "int64", "bytes"),
        Column("requires_grad", "bool", "whether it is trained"),
        Column("aliases", "text", "its other names, separated by commas"),
    ),
    (),
    _parameters,
)
NOTICES = Table(
    "notices",
    "What could not be seen, and what failed in the recorder.",
    (
        Column("step", "int64", "number of the step", missing=-1),
        Column("kind", "text", "kind"),
        Column("text", "text", "what"),
        Column("probe", "text", "the probe that failed"),
    ),
    (),
    _notices,
)

"""A stop becomes part of the session that a recorder of the stopped process is writing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture.graph import column
from gradwatch.records import Column, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from gradwatch.capture.recorder import Recorder
    from gradwatch.records import Gradients, GradientStates, Histograms, Record, Snapshot, Stop

_written: list[tuple[int, int]] = []


def write_stop(recorder: Recorder, answer: Snapshot, leaves: Sequence[torch.Tensor]) -> None:
    """Write the stop, and the gradients found at it, with the ids of the recording; the first answer of a stop."""
    recording = recorder._recording
    key = (id(recording), answer.stop.number)
    if recording is None or key in _written:
        return
    _written[:] = [key]
    watched = [recording.parameters.find(leaf) for leaf in leaves]
    ids = np.array([-1 if each is None else each.id for each in watched], np.int64)
    step = recording.steps.number
    stop = _with_recorded_graph(answer.stop, recording)
    records: list[Record] = [stop]
    if answer.states is not None:
        records.append(_states(answer.states, ids))
    for each in (*answer.gradients, *answer.histograms):
        if each.subject_kind == "parameter":
            records.append(_rows(each, ids, step))
        elif stop.graph >= 0:  # of a node: its position in the recorded graph is the same
            records.append(replace(each, step=step))
    for record in records:
        recording.records.write(record, step)


def _with_recorded_graph(stop: Stop, recording: Any) -> Stop:
    """The stop with its graph's id in the recording; without where the running call's graph was not recorded."""
    call = recording.calls.current() if stop.in_backward and stop.graph >= 0 else None
    if call is not None and call.graph >= 0:
        return replace(stop, graph=call.graph)
    return replace(stop, graph=-1, running=-1, node_states=None, fired_source=None)


def _states(states: GradientStates, ids: NDArray[np.int64]) -> GradientStates:
    subjects, known = _known(states.subjects, ids)
    names = ("state", "stale", "changed", "previous_norm", "pending")
    columns: dict[str, Any] = {name: _taken(getattr(states, name), known) for name in names}
    return replace(states, subjects=subjects, **columns)


def _rows(record: Gradients | Histograms, ids: NDArray[np.int64], step: int) -> Gradients | Histograms:
    subjects, known = _known(record.subjects, ids)
    values: dict[str, Any]
    if "codes" in record.__slots__:
        values = {"codes": _taken(getattr(record, "codes"), known)}  # noqa: B009  # of Histograms alone
    else:
        values = {"columns": {name: _taken(each, known) for name, each in getattr(record, "columns").items()}}  # noqa: B009  # of Gradients
    return replace(record, step=step, subjects=subjects, **values)


def _known(subjects: Column, ids: NDArray[np.int64]) -> tuple[Column, NDArray[np.bool_]]:
    """The recording's ids of these subjects, and which of them it has."""
    recorded = ids[np.frombuffer(subjects.data, subjects.dtype)]
    return column(recorded[recorded >= 0], "<u4"), recorded >= 0


def _taken(values: Column, known: NDArray[np.bool_]) -> Column:
    rows = np.reshape(np.frombuffer(values.data, values.dtype), (len(known), -1))
    return Column(values.dtype, rows[known].tobytes())


def recording_of(recorder: Recorder) -> Recording | None:
    """What the panel says of the recorder: its file, and its measured share of the time since it began."""
    recording = recorder._recording
    if recording is None:
        return None
    cost = recording.cost.nanoseconds / max(1, recording.running_ns())
    return Recording(str(recorder.path), recorder.options.detail, recording.records.written, round(cost, 6))

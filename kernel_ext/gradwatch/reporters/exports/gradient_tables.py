"""Tables of gradients, their histograms, and parameters around optimizer steps: a row per tensor and call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.records import (
    HISTOGRAM_BINS,
    STATISTIC_DTYPES,
    Backward,
    Gradients,
    Histograms,
    OptimizerStep,
)
from gradwatch.reporters.exports.columns import Batch, Column, Table, repeated
from gradwatch.reporters.exports.source import Source, cut, of_calls
from gradwatch.session.columns import HISTOGRAM_EDGES, as_array, decode_histograms

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATISTIC_DOCS = {
    "count": "elements; a complex tensor's real and imaginary parts count apart",
    "zeros": "elements that are zero",
    "nan": "elements that are NaN",
    "inf": "elements that are infinite",
    "subnormals": "elements that are subnormal",
    "min": "smallest finite value; NaN where there is none",
    "max": "largest finite value; NaN where there is none",
    "mean": "mean of the finite values; NaN where there is none",
    "l1": "L1 norm of the finite values",
    "l2": "L2 norm of the finite values",
}
_OPTIMIZER_DOCS = {
    "gradient_norm": "L2 norm of the gradient that the optimizer used, after clipping",
    "parameter_norm": "L2 norm of the parameter before the step",
    "update_ratio": "||change|| / ||parameter||",
}
_PLACE = (
    Column("step", "int64", "number of the step"),
    Column("backward", "int64", "index of the backward call in the step"),
    Column("kind", "text", "parameter, module (a module's output) or node"),
    Column("subject", "int64", "id of the parameter or module output; the node's index in its call's graph"),
    Column("name", "text", "the parameter's or module output's name, the node's op"),
)


def _gradient_rows(source: Source, _table: Table) -> Iterator[Batch]:
    for record in of_calls(source.records(Gradients)):
        with source.losing_damaged():
            names = source.names(record)
            rows = source.rows(record)
            size = len(names)
            yield {
                "step": repeated(record.step, size),
                "backward": repeated(record.backward, size),
                "kind": [record.subject_kind] * size,
                "subject": rows.subjects,
                "name": names,
                **rows.columns,
            }


def _histogram_rows(source: Source, _table: Table) -> Iterator[Batch]:
    for record in of_calls(source.records(Histograms)):
        with source.losing_damaged():
            names, path = source.names(record), source.session.path
            subjects = as_array(record.subjects, path).astype(np.int64)
            codes = as_array(record.codes, path, len(subjects) * HISTOGRAM_BINS)
            row, bin_ = np.nonzero(np.reshape(codes, (-1, HISTOGRAM_BINS)))
            yield {
                "step": repeated(record.step, len(row)),
                "backward": repeated(record.backward, len(row)),
                "kind": [record.subject_kind] * len(row),
                "subject": subjects[row],
                "name": [names[index] for index in row.tolist()],
                "log2_low": HISTOGRAM_EDGES[bin_],
                "log2_high": HISTOGRAM_EDGES[bin_ + 1],
                "values": decode_histograms(np.reshape(codes, (-1, HISTOGRAM_BINS))[row, bin_]),
            }


def _optimizer_rows(source: Source, _table: Table) -> Iterator[Batch]:
    name = partial(source.session.names.subject_name, "parameter")
    for record in source.records(OptimizerStep):
        with source.losing_damaged():
            path = source.session.path
            subjects = as_array(record.subjects, path).astype(np.int64)
            size, sampled = len(subjects), set(record.sampled)
            absent = np.full(size, np.nan)
            yield {
                "step": repeated(record.step, size),
                "optimizer": repeated(record.optimizer, size),
                "optimizer_class": [cut(record.optimizer_class)] * size,
                "subject": subjects,
                "name": [cut(name(number)) for number in subjects.tolist()],
                **{
                    key: as_array(record.columns[key], path, size).astype(np.float64)
                    if key in record.columns
                    else absent
                    for key in _OPTIMIZER_DOCS
                },
                "sampled": [number in sampled for number in subjects.tolist()],
            }


GRADIENTS = Table(
    "gradients",
    "Statistics of every recorded gradient, of every backward call.",
    (
        *_PLACE,
        *(
            Column(name, "int64", _STATISTIC_DOCS[name], missing=-1)
            if dtype == "<u8"
            else Column(name, "float64", _STATISTIC_DOCS[name])
            for name, dtype in STATISTIC_DTYPES.items()
        ),
    ),
    (Gradients, Backward),
    _gradient_rows,
)
HISTOGRAMS = Table(
    "histograms",
    "How many finite non-zero values of a gradient have log2|x| in a bin; bins without any are left out.",
    (
        *_PLACE,
        Column("log2_low", "int64", "log2 of the bin's lower edge; the first bin is open below"),
        Column("log2_high", "int64", "log2 of the bin's upper edge; the last bin is open above"),
        Column("values", "float64", "number of values, within 4.5 %"),
    ),
    (Histograms, Backward),
    _histogram_rows,
)
OPTIMIZER = Table(
    "optimizer",
    "Parameters around each optimizer step.",
    (
        Column("step", "int64", "number of the step"),
        Column("optimizer", "int64", "id of the optimizer"),
        Column("optimizer_class", "text", "its class"),
        Column("subject", "int64", "id of the parameter"),
        Column("name", "text", "name of the parameter"),
        *(Column(name, "float64", doc) for name, doc in _OPTIMIZER_DOCS.items()),
        Column("sampled", "bool", "the three numbers are estimates from 16,384 elements"),
    ),
    (OptimizerStep,),
    _optimizer_rows,
)

"""The tables of a session, as CSV and Parquet have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.reporters.exports.gradient_tables import GRADIENTS, HISTOGRAMS, OPTIMIZER
from gradwatch.reporters.exports.held_tables import EDGES, HELD, HELD_CURVE, NODES
from gradwatch.reporters.exports.run_tables import BACKWARDS, NOTICES, PARAMETERS, STEPS

if TYPE_CHECKING:
    from gradwatch.reporters.exports.columns import Table

TABLES: tuple[Table, ...] = (
    STEPS,
    BACKWARDS,
    PARAMETERS,
    GRADIENTS,
    HISTOGRAMS,
    OPTIMIZER,
    HELD,
    HELD_CURVE,
    NODES,
    EDGES,
    NOTICES,
)

"""What AOTAutograd made of a compiled region: its ops, what it keeps for backward and what it computes again."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.records import COMPILED_PHASES
from gradwatch.session.columns import as_array, as_indices
from gradwatch.session.lookup import LazySequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradwatch.records import CompiledRegion
    from gradwatch.session.session import Session

INPUT = "input"
"""The target of what a graph is given."""


class OpView:
    """One op of a compiled region, or one of its inputs."""

    __slots__ = ("_region", "index")

    def __init__(self, region: CompiledView, index: int) -> None:
        self._region = region
        self.index = index

    @property
    def name(self) -> str:
        """Its name in the graph: "addmm_1"; the forward and the backward may have one of a name each."""
        return self._region.record.op_names[self.index]

    @property
    def target(self) -> str:
        """What it calls: "aten.addmm.default"; "input" for what the graph is given."""
        return self._region.text("target", self.index)

    @property
    def phase(self) -> str:
        """Whether it stands in the "forward" or the "backward"."""
        return COMPILED_PHASES[int(self._region.columns["phase"][self.index])]

    @property
    def line(self) -> str | None:
        """The innermost line of the user's, as "file.py:12"; None when the compiler lost it."""
        return self._region.session.sources_by_id.label(self._region.number("site", self.index))

    @property
    def project_line(self) -> str | None:
        """The innermost line outside installed packages."""
        return self._region.session.sources_by_id.label(self._region.number("project_site", self.index))

    @property
    def module(self) -> str:
        """Name of the module in whose forward it stands; "" for none."""
        return self._region.session.names.module_name(self._region.number("module", self.index))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of its result, -1 for a size that is symbolic; None where that is no single tensor."""
        at = self._region.number("shape", self.index)
        return None if at < 0 else tuple(self._region.record.shapes[at])

    @property
    def dtype(self) -> str | None:
        """The dtype of its result; None where that is no single tensor."""
        return self._region.text("dtype", self.index) or None

    @property
    def saved(self) -> bool:
        """Whether its result is kept for backward."""
        return bool(self._region.columns["saved"][self.index])

    @property
    def recomputed(self) -> bool:
        """Whether it repeats an op of the forward, so that the result need not be kept."""
        return bool(self._region.columns["recomputed"][self.index])

    @property
    def forward_op(self) -> OpView | None:
        """Which op of the forward it repeats, or whose result it is given."""
        at = self._region.number("forward_op", self.index)
        return None if at < 0 else OpView(self._region, at)

    @property
    def uses(self) -> list[OpView]:
        """The ops whose results it takes."""
        sources = self._region.edges[0][self._region.edges[1] == self.index]
        return [OpView(self._region, int(source)) for source in sources]

    def __repr__(self) -> str:
        marks = " saved" * self.saved + " recomputed" * self.recomputed
        return f"<{self.phase} op {self.name} {self.target}{marks}>"


class CompiledView:
    """A compiled region. `ops` stand in the order of their graphs, those of the forward first."""

    def __init__(self, session: Session, record: CompiledRegion) -> None:
        self.session = session
        self.record = record
        self.id = record.id
        self.name = record.name
        self.backend = record.backend
        self.ops = LazySequence(record.op_count, lambda index: OpView(self, index))
        path, count, no_limit = session.path, record.op_count, 1 << 31
        self.columns: dict[str, NDArray[np.int64]] = {
            "target": as_indices(record.target, path, count, len(record.targets)),
            "phase": as_indices(record.phase, path, count, len(COMPILED_PHASES)),
            "site": as_indices(record.site, path, count, no_limit),
            "project_site": as_indices(record.project_site, path, count, no_limit),
            "module": as_indices(record.module, path, count, no_limit),
            "shape": as_indices(record.shape, path, count, len(record.shapes)),
            "dtype": as_indices(record.dtype, path, count, len(record.dtypes)),
            "forward_op": as_indices(record.forward_op, path, count, count),
            "saved": as_array(record.saved, path, count).astype(np.int64),
            "recomputed": as_array(record.recomputed, path, count).astype(np.int64),
        }

    @property
    def forward(self) -> list[OpView]:
        """The ops of the forward, without its inputs."""
        return [op for op in self.ops if op.phase == "forward" and op.target != INPUT]

    @property
    def backward(self) -> list[OpView]:
        """The ops of the backward, without its inputs."""
        return [op for op in self.ops if op.phase == "backward" and op.target != INPUT]

    @property
    def saved(self) -> list[OpView]:
        """What the forward keeps for backward: results of ops, and inputs."""
        return [OpView(self, at) for at in np.flatnonzero(self.columns["saved"]).tolist()]

    @property
    def recomputed(self) -> list[OpView]:
        """What the backward computes again."""
        return [OpView(self, at) for at in np.flatnonzero(self.columns["recomputed"]).tolist()]

    @cached_property
    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of ops: the result of the first is used by the second (int64, shape (edges,) each)."""
        record, path = self.record, self.session.path
        return (
            as_indices(record.edge_source, path, record.edge_count, record.op_count),
            as_indices(record.edge_target, path, record.edge_count, record.op_count),
        )

    def number(self, column: str, op: int) -> int:
        return int(self.columns[column][op])

    def text(self, column: str, op: int) -> str:
        at = self.number(column, op)
        texts = self.record.targets if column == "target" else self.record.dtypes
        return texts[at] if at >= 0 else ""

    def __repr__(self) -> str:
        kept = f"{len(self.saved)} kept, {len(self.recomputed)} computed again"
        return f"<compiled {self.name}: {len(self.forward)} ops forward, {len(self.backward)} backward, {kept}>"

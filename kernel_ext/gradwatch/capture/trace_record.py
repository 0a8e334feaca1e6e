"""Makes the Trace record of a step out of what was followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture.graph import column, short_name
from gradwatch.capture.held import HELD_CLASSES
from gradwatch.capture.ledger import read_saved
from gradwatch.capture.lines import current_frame
from gradwatch.records import Cut, DeadEnd, Trace, Write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from gradwatch.capture.recording import Recording
    from gradwatch.capture.trace_flow import Flow, Keys, Op
    from gradwatch.records import TraceReason

MAX_DEAD_ENDS = 200
MAX_NODES_OF_DEAD_END = 5000


@dataclass(frozen=True, slots=True)
class NodeLines:
    """For each node of a walk the place of its op (-1 none), and the raw keys of its line."""

    ops: list[int]
    sites: NDArray[np.int64]
    project_sites: NDArray[np.int64]


def lines_of(flow: Flow, numbers: NDArray[np.int64]) -> NodeLines:
    """The ops that made the nodes of these sequence numbers."""
    ops = [flow.place_of(number) if number >= 0 else -1 for number in numbers.tolist()]
    keys = [flow.ops[place].keys if place >= 0 else (-1, -1) for place in ops]
    sites = np.array([site for site, _ in keys], np.int64)
    return NodeLines(ops, sites, np.array([project for _, project in keys], np.int64))


def trace_record(
    recording: Recording, flow: Flow, where: tuple[int, TraceReason], last: tuple[int, NodeLines | None]
) -> Trace:
    """The record of a step that ends now: `last` is its last graph, with the lines of its nodes."""
    return _Writing(recording, flow).record(where, last)


class _Writing:
    def __init__(self, recording: Recording, flow: Flow) -> None:
        self._recording = recording
        self._flow = flow
        self._ids = [self._id(leaf.ref()) for leaf in flow.leaves]

    def record(self, where: tuple[int, TraceReason], last: tuple[int, NodeLines | None]) -> Trace:
        flow, (graph, lines) = self._flow, last
        sites = self._recording.sites
        used = [(number, leaf.uses) for number, leaf in zip(self._ids, flow.leaves, strict=True) if number >= 0]
        used = [(number, uses) for number, uses in used if uses]
        return Trace(
            step=where[0],
            reason=where[1],
            op_count=flow.count,
            truncated=flow.truncated,
            used_parameters=column([number for number, _ in used], "<u4"),
            uses=column([uses for _, uses in used], "<u4"),
            cuts=self._cuts(),
            dead_ends=self._dead_ends(),
            writes=self._writes(),
            graph=graph,
            node_site=None if lines is None else column(sites.site_ids(lines.sites), "<i4"),
            node_project_site=None if lines is None else column(sites.site_ids(lines.project_sites), "<i4"),
        )

    def _id(self, leaf: Any) -> int:
        watched = None if leaf is None else self._recording.parameters.find(leaf)
        return -1 if watched is None else watched.id

    def _sites(self, keys: Keys) -> tuple[int, int]:
        return self._recording.sites.site(keys[0]), self._recording.sites.site(keys[1])

    def _parameters(self, leaves: Iterable[int]) -> list[int]:
        return sorted({self._ids[leaf] for leaf in leaves} - {-1})

    def _cuts(self) -> list[Cut]:
        found: list[Cut] = []
        for cut in self._flow.cuts.values():
            behind = self._parameters(self._flow.leaves_behind(cut.parents, cut.leaves))
            sites = self._sites(cut.keys)
            found.append(Cut(cut.kind, cut.op, *sites, cut.module, behind, cut.reaches_loss, cut.name, cut.count))
        return found

    def _writes(self) -> list[Write]:
        return [
            Write(
                write.op,
                *self._sites(write.keys),
                write.module,
                write.phase,
                write.name,
                self._parameters(write.leaves),
                write.count,
            )
            for write in self._flow.writes.values()
        ]

    def _dead_ends(self) -> list[DeadEnd]:
        flow = self._flow
        if flow.truncated or not flow.walked:
            return []
        ends = [op for op in flow.ops if op.carries and not op.reached and not op.consumed and op.node]
        seen: dict[tuple[str, Keys], DeadEnd] = {}
        for op in ends[-MAX_DEAD_ENDS:]:
            seen[op.name, op.keys] = self._dead_end(op)
        return list(seen.values())

    def _dead_end(self, op: Op) -> DeadEnd:
        tensor = None if op.output is None else op.output()
        name = op.label
        if tensor is not None:
            name = self._recording.namer.name_of(tensor, current_frame(3)) or name
        return DeadEnd(
            op.node,
            op.name,
            *self._sites(op.keys),
            op.module,
            self._parameters(self._flow.leaves_behind(op.parents, op.leaves)),
            name,
            0 if tensor is None else self._saved_bytes(tensor.grad_fn),
            op.used,
        )

    def _saved_bytes(self, root: Any) -> int:
        """What the nodes behind `root` still hold, less what a reached one among them begins."""
        if root is None:
            return 0
        nodes, seen = [root], {root}
        for node in nodes:
            for after, _ in node.next_functions:
                if after is not None and after not in seen and len(nodes) < MAX_NODES_OF_DEAD_END:
                    seen.add(after)
                    place = self._flow.place_of(after._sequence_nr()) if short_name(after) != "AccumulateGrad" else -1
                    if place < 0 or not self._flow.ops[place].reached:
                        nodes.append(after)
        rows = read_saved(nodes)
        sizes = zip(rows.storage_index, rows.storage_bytes, strict=True)
        return sum(size for address, size in sizes if self._recording.graph.class_of(address) in HELD_CLASSES)

"""The graph of a stop: behind a variable, or of the backward call that is running, with how far that has come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradwatch.capture.attach import attachment
from gradwatch.capture.budget import OVER
from gradwatch.capture.fired import needed, node_states
from gradwatch.capture.graph import column, roots_of
from gradwatch.capture.graph_capture import why_unobservable
from gradwatch.capture.live_graph import How, backward_record, notices_of, read_graph
from gradwatch.capture.sites import source_text
from gradwatch.capture.stop_regions import regions_at_stop
from gradwatch.capture.witnesses import witness
from gradwatch.records import Notice

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.autograd.graph import Node

    from gradwatch.capture.budget import Budget
    from gradwatch.capture.fired import RunningCall
    from gradwatch.capture.late_names import LateNames
    from gradwatch.capture.live_graph import Reading
    from gradwatch.records import Backward, CompiledRegion, Site, Snapshot

FROM_NOW_ON = " Operations that run after this stop will have both."
WALK_SHARE = 0.4
"""Of the budget: what is walked must also be read."""


class StopGraph:
    """Reads one graph. `call` is the running call whose graph it is; None: a variable's. `busy` is its running node."""

    def __init__(self, names: LateNames, budget: Budget, call: RunningCall | None) -> None:
        self._names = names
        self._budget = budget
        self._call = call
        self.busy: Any = None
        self.reading: Reading | None = None
        self._regions: list[CompiledRegion] = []
        self._running = -1
        self._states: NDArray[np.uint8] | None = None

    def read(self, root: torch.Tensor | None, *, held: bool) -> str | None:
        """Read the graph behind `root` (None: of the running call). Returns why it cannot be seen, if so."""
        why_not = None if root is None else why_unobservable([root])
        roots = [] if why_not is not None else self._roots(root)
        if not roots:
            return why_not
        how = How(held, self.busy, self._budget.share(WALK_SHARE), self._budget.is_over)
        saw = witness(self._names)
        self.reading = reading = read_graph(roots, self._names, saw, how)
        self._regions = [] if saw is None else regions_at_stop(reading, saw)
        self._budget.moves("held", "graph", reading.held_ms)
        if reading.walked.expanded >= 0:
            self._budget.misses("graph", OVER, reading.walked.expanded)
        if reading.rows.read >= 0:
            self._budget.misses("held", OVER, reading.rows.read, len(reading.walked.nodes))
        if self._call is not None:
            self._running, self._states = node_states(reading.walked, self._call)
        return None

    def _roots(self, root: torch.Tensor | None) -> list[Node]:
        if root is not None:
            return roots_of([root])
        return [] if self._call is None else self._call.roots

    def leaf_states(self) -> dict[int, int]:
        """Of each parameter id in the running call's graph, whether its gradient was accumulated (NODE_STATES)."""
        if self.reading is None or self._states is None:
            return {}
        pairs = zip(self.reading.leaves, self._states.tolist(), strict=True)
        return {leaf: state for leaf, state in pairs if leaf >= 0}

    def notices(self) -> list[Notice]:
        if self.reading is None:
            return []
        found = notices_of(self.reading)
        attached = attachment()
        if attached is not None and attached.hooks.is_on and self.reading.unwitnessed:
            found[0] = replace(found[0], text=found[0].text + FROM_NOW_ON)
        if self._call is not None and self._call.inputs is not None:
            left = int((~needed(self.reading.walked, self._call)).sum())
            text = f"This call computes gradients of {len(self._call.inputs)} inputs: {left} nodes will not be run."
            found.append(Notice("partial", text))
        return found

    def added_to(self, answer: Snapshot) -> Snapshot:
        """The answer with this graph in it."""
        reading = self.reading
        if reading is None:
            return answer
        stop = answer.stop
        if self._states is not None:
            states = column(self._states, "|u1")
            stop = replace(stop, graph=0, running=self._running, node_states=states, fired_source="order")
        return replace(
            answer,
            stop=stop,
            graph=reading.graph,
            ledger=reading.ledger,
            backward=self._backward(reading),
            sites=reading.sites,
            site_texts=_texts(reading.sites),
            regions=self._regions,
        )

    def _backward(self, reading: Reading) -> Backward:
        record = backward_record(reading)
        if self._call is None:
            return record
        return replace(
            record,
            call="backward" if self._call.accumulates else "grad",
            retain_graph=self._call.retain_graph,
            create_graph=self._call.create_graph,
            has_inputs=self._call.inputs is not None,
        )


def _texts(sites: list[Site]) -> list[str]:
    lines = {file: (source_text(file) or "").split("\n") for file in {site.file for site in sites}}
    return [lines[site.file][site.line - 1].strip() if 0 < site.line <= len(lines[site.file]) else "" for site in sites]

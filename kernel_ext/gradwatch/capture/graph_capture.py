"""Reads the graph of a backward call, just before the engine runs it: structure, held bytes, node hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradwatch.capture.device_values import CAPTURED, is_capturing
from gradwatch.capture.graph import (
    LEAF,
    Attribution,
    Distinct,
    Walk,
    graph_record,
    hides_saved,
    name_labels,
    release_order,
    roots_of,
    structure_digest,
    walk,
)
from gradwatch.capture.held import HELD_CLASSES, bytes_by_class, class_indices, ledger_record
from gradwatch.capture.ledger import SavedRows, read_saved
from gradwatch.capture.recomputation import NOT_SEEN, runs_a_checkpoint
from gradwatch.capture.told import say_nothing
from gradwatch.capture.torch_internals import dual_level, is_functorch
from gradwatch.records import TENSOR_CLASSES, NodeLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gradwatch.capture.attribution import ThreadIntervals
    from gradwatch.capture.backward import BackwardCall
    from gradwatch.capture.compiled_graphs import CompiledGraphs
    from gradwatch.capture.held import PackFold
    from gradwatch.capture.line_clock import LineClock
    from gradwatch.capture.node_hooks import Awaited
    from gradwatch.capture.parameters import ParameterTable, Watched
    from gradwatch.capture.sites import SiteTable
    from gradwatch.records import CompiledRegion, Graph, Ledger, NoticeKind

MAX_ORDERS = 256
"""Structures whose engine order is kept; that of another is computed anew when it returns."""

TANGENTS_NOT_SEEN = (
    "Inside forward-mode AD (a dual level) autograd keeps the tangents of saved tensors too: they are not among the "
    "held bytes."
)

HIDDEN_REACH = 3
"""The op inside a CopySlices node is numbered at most this much below it."""

HIDDEN_AFTER = 2
"""Nodes that are numbered after it by the time that the op inside saves its result: those of the rebuilt views."""


class Lines:
    """Modules and source lines of nodes, from module intervals and, where it runs, the line clock."""

    def __init__(self, intervals: ThreadIntervals, clock: LineClock | None) -> None:
        self._intervals = intervals
        self._clock = clock
        self._made_in_backward: list[tuple[int, int, int]] = []

    def first_number(self, caller: int) -> int | None:
        """The lowest number that is known of, among the nodes of graphs that thread `caller` runs."""
        thread = self._intervals.owner(caller)
        intervals = self._intervals.of(thread) if thread is not None else None
        return intervals.numbers[0] if intervals is not None and intervals.numbers else None

    def made_in_backward(self, thread: int, first: int, end: int) -> None:
        """Nodes numbered `first` to `end` (exclusive) on `thread` were made by a backward call."""
        if end > first:
            self._made_in_backward = [*self._made_in_backward[-1000:], (thread, first, end)]

    def forget_before(self, marks: dict[int, int]) -> None:
        """Drop what is known of nodes numbered before `marks`, by thread."""
        self._intervals.forget_before(marks)
        if self._clock is not None:
            for thread, number in marks.items():
                self._clock.forget(thread, number)

    def attribute(self, walked: Walk, caller: int, recomputed_from: int | None = None) -> Attribution:
        """Attribute nodes of a graph that thread `caller` runs. Backward made those from `recomputed_from` on."""
        numbers = walked.numbers
        thread = self._intervals.owner(caller)
        intervals = self._intervals.of(thread) if thread is not None else None
        unknown = np.full((3, len(numbers)), -1, np.int64)
        places = intervals.resolve(numbers) if intervals is not None else unknown
        sites, project = places[1], places[2]
        if self._clock is not None and self._clock.failure is None and thread is not None:
            sites, project = self._clock.resolve(thread, numbers)
        leaf = numbers < 0
        in_backward = np.zeros(len(numbers), np.uint8)
        lowest = int(numbers.min(where=~leaf, initial=np.iinfo(np.int64).max))
        for made_by, first, end in reversed(self._made_in_backward):  # ends only grow on a thread
            if made_by == caller:
                if end <= lowest:
                    break
                in_backward |= ((numbers >= first) & (numbers < end)).astype(np.uint8)
        if recomputed_from is not None:
            in_backward |= (numbers >= recomputed_from).astype(np.uint8)
        modules, sites, project = (np.where(leaf, -1, each) for each in (places[0], sites, project))
        return Attribution(modules, sites, project, in_backward)


class GraphCapture:
    """Fills a BackwardCall with what its graph tells. Records go out through `write`."""

    def __init__(
        self,
        lines: Lines,
        parameters: ParameterTable,
        sites: SiteTable,
        write: Callable[[Graph | Ledger | CompiledRegion], bool],
    ) -> None:
        self.lines = lines
        self._parameters = parameters
        self._sites = sites
        self._write = write
        self._graphs = Distinct()
        self._ledgers = Distinct()
        self._orders: dict[int, NDArray[np.int64]] = {}
        self.pack_fold: PackFold | None = None
        self.compiled: CompiledGraphs | None = None
        self.unknown_leaf: Callable[[torch.Tensor], Watched | None] = lambda _: None
        self.tell_once: Callable[[NoticeKind, str], None] = say_nothing
        self.sees_recomputation = False

    def read(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        """Walk the graph behind `outputs`. Where it cannot be seen, `call.unobserved` says why."""
        call.unobserved = why_unobservable(outputs)
        if call.unobserved is not None:
            return
        if is_capturing():
            self.tell_once("not observable", CAPTURED)
        walked = walk(roots_of(outputs))
        leaves = self._leaf_ids(walked)
        call.leaves = {number for number in leaves if number >= 0}
        rows = read_saved(walked.nodes)
        self._add_hidden(walked, rows)
        attribution = self.lines.attribute(walked, call.thread, call.parent.first_number if call.parent else None)
        overlay_sites(attribution, rows)
        # As ids: the clock has several keys for one place.
        attribution.sites = self._sites.site_ids(attribution.sites).astype(np.int64)
        attribution.project_sites = self._sites.site_ids(attribution.project_sites).astype(np.int64)
        rows.mark_recomputed(None if call.parent is None else attribution.in_backward)
        if self.pack_fold is not None:
            rows.packed = {address for address in rows.storage_index if address in self.pack_fold.held}
        labels = distinct_labels([*rows.labels, *name_labels(walked)])  # of one node, the last is shown
        if self.compiled is not None:
            labels = self.compiled.opened(walked, labels)
        call.walk, call.saved = walked, rows
        call.graph, call.order = self._graph(walked, attribution, leaves, labels)
        call.classes = class_indices(rows, self.class_of)
        call.class_bytes = bytes_by_class(rows, call.classes)
        call.held_bytes = sum(
            size for name, size in zip(TENSOR_CLASSES, call.class_bytes, strict=True) if name in HELD_CLASSES
        )
        call.ledger = self._ledger(call, walked, rows)
        self._tell_what_is_missing(labels)

    def _tell_what_is_missing(self, labels: tuple[NodeLabel, ...]) -> None:
        if not self.sees_recomputation and any(label.label == "checkpointed" for label in labels):
            self.tell_once("partial", NOT_SEEN)
        if dual_level() >= 0:
            self.tell_once("partial", TANGENTS_NOT_SEEN)

    def read_leaves(self, call: BackwardCall, outputs: Sequence[Any]) -> None:
        """Walk the graph behind `outputs` for its leaves alone."""
        if why_unobservable(outputs) is None:
            call.leaves = {number for number in self._leaf_ids(walk(roots_of(outputs))) if number >= 0}

    def class_of(self, address: int) -> str:
        """The class of the storage at an address, one of TENSOR_CLASSES."""
        return self._parameters.storages.of(address) or "activation"

    def is_held(self, address: int) -> bool:
        return self.class_of(address) in HELD_CLASSES

    def _leaf_ids(self, walked: Walk) -> tuple[int, ...]:
        ids = [-1] * len(walked.nodes)
        is_part = runs_a_checkpoint()  # the leaves of its graph are its own inputs, cut off
        for position, leaf in walked.leaves():
            watched = self._parameters.find(leaf) or (None if is_part else self.unknown_leaf(leaf))
            if watched is not None:
                self._parameters.storages.keep(leaf)
                ids[position] = watched.id
        return tuple(ids)

    def _add_hidden(self, walked: Walk, rows: SavedRows) -> None:
        if self.pack_fold is None:
            return
        copies = [(int(walked.numbers[i]), i) for i, name in enumerate(walked.names) if hides_saved(name)]
        if not copies:
            return
        seen = frozenset(walked.numbers.tolist())
        for address, (_, _, size, number, _) in self.pack_fold.held.items():
            if address not in rows.storage_index:
                position = _hiding(copies, seen, number)
                if position is not None:
                    rows.add_hidden(position, address, size)

    def _graph(
        self, walked: Walk, attribution: Attribution, leaves: tuple[int, ...], labels: tuple[NodeLabel, ...]
    ) -> tuple[int, NDArray[np.int64]]:
        number, is_new = self._graphs.id_of(structure_digest(walked, attribution, leaves, labels))
        if is_new:
            for region in self.compiled.take(labels) if self.compiled is not None else ():
                self._write(region)
            self._write(graph_record(number, walked, attribution, leaves, labels))
        return number, self._order(number, walked)

    def _order(self, number: int, walked: Walk) -> NDArray[np.int64]:
        known = self._orders.get(number)
        if known is None:
            if len(self._orders) >= MAX_ORDERS:
                del self._orders[next(iter(self._orders))]
            known = self._orders[number] = release_order(walked)
        return known

    def _ledger(self, call: BackwardCall, walked: Walk, rows: SavedRows) -> int:
        digest = hash((call.graph, tuple(call.classes), rows.key()))
        number, is_new = self._ledgers.id_of(digest)
        if is_new and not self._write(ledger_record(number, call.graph, walked, rows, call.classes)):
            self._ledgers.forget(digest)
            return -1
        return number


def _hiding(hiding: list[tuple[int, int]], seen: frozenset[int], number: int) -> int | None:
    """The position of the node, of those that hide what they saved, in whose op `number` was the latest one."""
    reach = [(abs(own - number), at) for own, at in hiding if -HIDDEN_AFTER <= own - number < HIDDEN_REACH]
    own_number = any(own == number for own, _ in hiding)
    return min(reach)[1] if reach and (own_number or number not in seen) else None


def outputs_of(walk: Walk, outputs: Sequence[Any]) -> dict[int, dict[int, Awaited]]:
    """Of every node but the leaves: the outputs that gradients can arrive at, in order, by position."""
    pairs = set(zip(walk.edge_target.tolist(), walk.edge_input_nr.tolist(), strict=True))
    at = {node: position for position, node in enumerate(walk.nodes)} if outputs else {}
    for output in outputs:
        node = output.grad_fn if isinstance(output, torch.Tensor) else output.node
        if node in at:
            pairs.add((at[node], output.output_nr))
    found: dict[int, dict[int, Awaited]] = {}
    for position, output_nr in sorted(pairs):
        if walk.names[position] != LEAF:  # NotImplemented has no number either
            found.setdefault(position, {})[output_nr] = (position, ())
    return found


def overlay_sites(attribution: Attribution, rows: SavedRows) -> None:
    """A pack hook's line is nearer than a module's call line."""
    for node, (site, project) in rows.sites.items():
        if site >= 0:
            attribution.sites[node] = site
            attribution.project_sites[node] = project


def distinct_labels(labels: list[NodeLabel]) -> tuple[NodeLabel, ...]:
    return tuple(dict.fromkeys(labels))


def why_unobservable(outputs: Sequence[Any]) -> str | None:
    for output in outputs:
        if isinstance(output, torch.Tensor):
            if is_functorch(output):
                return "inside a functorch transform (torch.func): its graph is not observable"
            if type(output).__name__ in ("FakeTensor", "FunctionalTensor"):
                return "traced by the compiler: there is no real graph"
    return None

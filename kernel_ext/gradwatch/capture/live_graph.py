"""Reads a graph that is alive now: structure, what it saved, modules and lines. Nothing is hooked, run or released.

At a stop of a debugger (`stop.py`), and for a tensor at hand (`late.py`). Where something saw the forward run
(a recorder, or what the first stop attached), its modules and source lines are used.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from gradwatch.capture.containment import place_between
from gradwatch.capture.graph import Attribution, graph_record, name_labels, walk
from gradwatch.capture.graph_capture import distinct_labels, overlay_sites
from gradwatch.capture.held import HELD_CLASSES, bytes_by_class, class_indices, ledger_record
from gradwatch.capture.late_names import modules_by_parameter
from gradwatch.capture.ledger import SavedRows, raw_fields, read_saved
from gradwatch.capture.own_lines import own_lines
from gradwatch.records import TENSOR_CLASSES, Backward, Notice, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch.autograd.graph import Node

    from gradwatch.capture.compiled_graphs import CompiledGraphs
    from gradwatch.capture.graph import Walk
    from gradwatch.capture.graph_capture import Lines
    from gradwatch.capture.late_names import LateNames
    from gradwatch.capture.sites import Place, SiteTable
    from gradwatch.records import Graph, Ledger

NAMED_BY_PARAMETERS = (
    "This graph was built without a recorder: modules are those whose parameters an operation uses, and "
    "source lines are not known."
)
NAMED_IN_PART = (
    "{} of {} operations were made before anything looked: their modules are those whose parameters they use, and "
    "their source lines are not known."
)
STEP = 0
"""The step of the one call that a reading stands for: it has not been made."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What saw the forward run. `module` turns a module id of its own into one of the reading's.

    From the sequence number `complete_from` on, no module call was missed. `compiled` saw the compiler's graphs; their
    sites and modules are those of `sites` and `module`.
    """

    lines: Lines
    sites: SiteTable
    module: Callable[[int], int]
    complete_from: int = 0
    compiled: CompiledGraphs | None = None


@dataclass(slots=True)
class Reading:
    """What was read of a graph, and the records made of it. `ledger` is None where it was not asked for."""

    walked: Walk
    rows: SavedRows
    attribution: Attribution
    leaves: list[int]
    graph: Graph
    sites: list[Site]
    ledger: Ledger | None = None
    classes: list[int] = field(default_factory=list[int])
    released: int = 0
    unwitnessed: int = 0
    held_ms: float = 0.0
    """What of the time went into reading what is held."""


@dataclass(frozen=True, slots=True)
class How:
    """How to read a graph: whether with what it holds, and until when the walk and all of it may last.

    `busy` is a node that the engine runs now. Its saved tensors are read like all others, but are not unpacked
    to see whether they were released: it may hold its lock.
    """

    held: bool = True
    busy: Node | None = None
    walk_is_over: Callable[[], bool] | None = None
    is_over: Callable[[], bool] | None = None


def read_graph(roots: Sequence[Node], names: LateNames, witness: Witness | None, how: How | None = None) -> Reading:
    """Read the graph behind `roots`, as far as `how` allows."""
    how = how or How()
    walked = walk(list(roots), how.walk_is_over)
    start = perf_counter()
    rows = read_saved(walked.nodes, how.is_over) if how.held else SavedRows()
    held_ms = (perf_counter() - start) * 1000
    leaves = [-1] * len(walked.nodes)
    for position, leaf in walked.leaves():
        leaves[position] = names.id_of(leaf)
    attribution = _attribution(walked, rows, witness)
    unseen = _unwitnessed(walked, attribution, witness)
    if unseen.any():
        by_parameter = modules_by_parameter(walked, leaves, names)
        by_parameter = place_between(walked, by_parameter, leaves, names.modules)
        attribution.modules[unseen] = by_parameter[unseen]
    sites = _places(walked, attribution, witness)
    labels = distinct_labels([*rows.labels, *name_labels(walked)])  # of one node, the last is shown
    if witness is not None and witness.compiled is not None:
        labels = witness.compiled.opened_where_seen(walked, labels)
    reading = Reading(
        walked, rows, attribution, leaves, graph_record(0, walked, attribution, tuple(leaves), labels), sites
    )
    reading.unwitnessed = int(unseen.sum())
    if how.held:
        start = perf_counter()
        reading.classes = class_indices(rows, names.class_of)
        reading.ledger = ledger_record(0, 0, walked, rows, reading.classes)
        reading.released = released_nodes(walked.nodes, rows, how.busy)
        reading.held_ms = held_ms + (perf_counter() - start) * 1000
    return reading


def _attribution(walked: Walk, rows: SavedRows, witness: Witness | None) -> Attribution:
    if witness is None:
        modules, sites, project = np.full((3, len(walked.nodes)), -1, np.int64)
        return Attribution(modules, sites, project, np.zeros(len(walked.nodes), np.uint8))
    attribution = witness.lines.attribute(walked, threading.get_ident())
    overlay_sites(attribution, rows)
    distinct, inverse = np.unique(attribution.modules, return_inverse=True)
    ids = np.array([-1 if number < 0 else witness.module(number) for number in distinct.tolist()], np.int64)
    attribution.modules = ids[inverse]
    return attribution


def _unwitnessed(walked: Walk, attribution: Attribution, witness: Witness | None) -> NDArray[np.bool_]:
    """Operations that were made before anything looked, or inside of a module call that had begun before."""
    inner = walked.numbers >= 0
    first = None if witness is None else witness.lines.first_number(threading.get_ident())
    if witness is None or first is None:
        return inner
    return inner & (attribution.modules < 0) & (walked.numbers < max(first, witness.complete_from))


def _places(walked: Walk, attribution: Attribution, witness: Witness | None) -> list[Site]:
    """Sites of the nodes. They get ids of their own: those of a recording must reach its file first."""
    places: dict[Place, int] = {}
    for column in (attribution.sites, attribution.project_sites):
        known = column >= 0
        if witness is not None and known.any():
            keys, inverse = np.unique(column[known], return_inverse=True)
            ids = [places.setdefault(witness.sites.place(key), len(places)) for key in keys.tolist()]
            column[known] = np.array(ids, np.int64)[inverse]
    for node, place in own_lines(walked):
        if attribution.sites[node] < 0:
            number = places.setdefault(place, len(places))
            attribution.sites[node] = attribution.project_sites[node] = number
    return [_site(number, place) for place, number in places.items()]


def _site(number: int, place: Place) -> Site:
    return Site(number, place.file, place.line, place.function, place.column, place.end_line, place.end_column)


def released_nodes(nodes: Sequence[Node], rows: SavedRows, busy: Node | None) -> int:
    """How many nodes have let go of what they saved, because a backward call has run through them: all at once."""
    saving = set(rows.node)
    return sum(_is_released(node) for i, node in enumerate(nodes) if i not in saving and node is not busy)


def _is_released(node: Any) -> bool:
    for role, attribute in raw_fields(node.__class__):
        try:
            raw = getattr(node, attribute)
        except RuntimeError:  # a custom Function's
            return True
        if isinstance(raw, (tuple, list)) or raw is None or raw.data is not None:
            continue
        if getattr(raw, "unpack_hook", None) is not None:  # a hook packed it as None: it would be called
            continue
        try:
            getattr(node, f"_saved_{role}")  # nothing is there to unpack, so no hook is called
        except RuntimeError:
            return True
    return False


def backward_record(reading: Reading) -> Backward:
    """The call that has not been made: what it would find held."""
    sizes = bytes_by_class(reading.rows, reading.classes)
    held = sum(size for name, size in zip(TENSOR_CLASSES, sizes, strict=True) if name in HELD_CLASSES)
    return Backward(
        step=STEP,
        index=0,
        call="backward",
        parent=-1,
        graph=0,
        ledger=0 if reading.ledger is not None else -1,
        start_ns=time_ns(),
        duration_ns=0,
        retain_graph=False,
        create_graph=False,
        has_inputs=False,
        thread=threading.get_ident(),
        held_bytes=held if reading.ledger is not None else -1,
        class_bytes=sizes if reading.ledger is not None else [],
    )


def notices_of(reading: Reading) -> list[Notice]:
    """What a reader of the graph must know."""
    notices: list[Notice] = []
    operations = int((reading.walked.numbers >= 0).sum())
    if reading.unwitnessed == operations:
        notices.append(Notice("partial", NAMED_BY_PARAMETERS))
    elif reading.unwitnessed:
        notices.append(Notice("partial", NAMED_IN_PART.format(reading.unwitnessed, operations)))
    if reading.released:
        saving = sum(bool(raw_fields(type(node))) for node in reading.walked.nodes)
        notices.append(
            Notice(
                "partial",
                f"{reading.released} of {saving} nodes that save tensors have let go of them: "
                "backward() has run through them already.",
            )
        )
    return notices

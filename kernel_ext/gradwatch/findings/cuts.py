"""What cuts one parameter off from the loss: the trace says it to the line, calls and graphs where there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.session.columns import as_indices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradwatch.findings.reach import Reach
    from gradwatch.records import Certainty, Cut, DeadEnd
    from gradwatch.session.graph import GraphColumns
    from gradwatch.session.names import ParameterView

_LOGS = re.compile(
    r"print|log|append|write|metric|histor|stat|tqdm|postfix|format|report|track|record|f['\"]|accura|\bacc\b|correct|total"
)
"""A line that makes a number for people, not for the loss."""

_GIVEN = re.compile(r"([A-Za-z_][\w.]*)\.(?:detach|data|item|tolist|numpy|argmax|cpu)\b")
"""What a line takes off the graph, as it is written."""

_NUMBERS = ("number", "numpy")


@dataclass(frozen=True, slots=True)
class Culprit:
    """What cuts a parameter off. Parameters with equal ones are told together."""

    cause: str
    site: int = -1
    op: str = ""
    name: str = ""
    module: int = -1
    graph: int = -1
    node: int = -1
    bytes: int = -1
    evidence: tuple[str, ...] = ()
    certainty: Certainty = "measured"


def culprit_of(reach: Reach, view: ParameterView) -> Culprit:
    """What cuts off a parameter that got no gradient."""
    cut, dead_end = _cut(reach, view.id), _dead_end(reach, view.id)
    if cut is not None and _leads_on(reach, cut, dead_end):
        return _of_cut(reach, cut)
    if dead_end is not None:
        return _of_dead_end(dead_end)
    if cut is not None:
        return _of_cut(reach, cut)
    return _without_trace(reach, view)


def _leads_on(reach: Reach, cut: Cut, dead_end: DeadEnd | None) -> bool:
    """Whether a cut is what to change, rather than a tensor whose graph nobody used.

    A number goes where no trace follows: it counts unless its line only prints or logs.
    """
    if cut.reaches_loss or dead_end is None:
        return True
    text = _text(reach, cut)
    if _kind(cut, text) not in _NUMBERS:
        return False
    return bool(text) and not _LOGS.search(text.lower())


def _kind(cut: Cut, text: str) -> str:
    """`x.detach().numpy()` is a way out of torch: the detach alone would not keep it from the loss."""
    return "numpy" if cut.kind == "detached" and ".numpy(" in text else cut.kind


def _text(reach: Reach, cut: Cut) -> str:
    """The line of a cut as it was written; "" where that was not recorded."""
    return (reach.session.line_text(_place(cut)) or "") if _place(cut) >= 0 else ""


def _cut(reach: Reach, parameter: int) -> Cut | None:
    found = [cut for trace in reach.trace_records for cut in trace.cuts if parameter in cut.parameters]
    return min(found, key=lambda cut: (not cut.reaches_loss, cut.kind in _NUMBERS), default=None)


def _dead_end(reach: Reach, parameter: int) -> DeadEnd | None:
    """The tensor furthest on: with a name, used by nothing, and made from few other parameters."""
    found = [end for trace in reach.trace_records for end in trace.dead_ends if parameter in end.parameters]
    return min(found, key=lambda end: (end.used > 0, not end.name, len(end.parameters)), default=None)


def _place(of: Cut | DeadEnd) -> int:
    return of.project_site if of.project_site >= 0 else of.site


def _of_cut(reach: Reach, cut: Cut) -> Culprit:
    times = (f"{cut.count} times in the traced step",) if cut.count > 1 else ()
    joined = () if cut.reaches_loss or cut.kind in _NUMBERS else ("what it makes does not go into a loss either",)
    text = _text(reach, cut)
    kind = _kind(cut, text)
    op = "Tensor.numpy" if kind != cut.kind else cut.op
    given = _GIVEN.search(text)
    name = cut.name or (given[1] if given else "")
    return Culprit(kind, _place(cut), op, name, cut.module, evidence=(*times, *joined))


def _of_dead_end(end: DeadEnd) -> Culprit:
    saved = end.saved_bytes if end.saved_bytes > 0 else -1
    evidence = [f"the last node of the branch is {end.node}"]
    evidence += [f"its graph keeps {saved:,} bytes for a backward that does not come"] if saved > 0 else []
    return Culprit("unused output", _place(end), end.op, end.name, end.module, bytes=saved, evidence=tuple(evidence))


def _without_trace(reach: Reach, view: ParameterView) -> Culprit:
    called, uses = reach.called(view), reach.uses.get(view.id, 0)
    if view.id in reach.in_graphs:
        return _in_graph(reach, view.id)
    if called is not None and not called.calls and not uses:
        return Culprit("never called", certainty="measured")
    if called is not None and called.calls and called.calls == called.without_grad:
        cause = "reentrant checkpoint" if reach.is_traced else "no_grad"
        return Culprit(cause, op="every call of its module", evidence=(f"{called.calls} calls, all without grad",))
    if reach.is_traced and not uses:
        return Culprit("not used")
    return Culprit("unknown", certainty="inferred")


def _in_graph(reach: Reach, parameter: int) -> Culprit:
    """A graph has it and backward brought nothing: the next op of the program's own returns None for it."""
    graph = reach.in_graphs[parameter]
    columns = reach.session.graph_columns(graph)
    if columns is None:
        return Culprit("no gradient returned", graph=graph)
    labels = {label.node for label in columns.record.labels if label.label == "custom"}
    for node in _downstream(columns, parameter):
        if node in labels or not re.search(r"Backward\d*$|AccumulateGrad", columns.name(node)):
            return _of_node(reach, columns, graph, node)
    first = next(_downstream(columns, parameter), -1)
    return _of_node(reach, columns, graph, first)


def _of_node(reach: Reach, columns: GraphColumns, graph: int, node: int) -> Culprit:
    if node < 0:
        return Culprit("no gradient returned", graph=graph, certainty="inferred")
    site = reach.session.site_of(graph, node, project=True)
    site = site if site >= 0 else int(columns.project_site_id[node])
    name = re.sub(r"Backward\d*$", "", columns.name(node))
    module = int(columns.module_id[node])
    return Culprit("no gradient returned", site, name, module=module, graph=graph, node=node, certainty="inferred")


def _downstream(columns: GraphColumns, parameter: int) -> Iterator[int]:
    """Nodes that use a leaf, towards the loss, the nearest first."""
    leaves = np.flatnonzero(columns.parameter_id == parameter).tolist()
    yield from downstream(columns, leaves)


def downstream(columns: GraphColumns, start: list[int]) -> Iterator[int]:
    """Nodes from `start` towards the loss, the nearest first; without `start` itself."""
    sources, targets = edges_of(columns)
    order = np.argsort(targets, kind="stable")
    sources, targets = sources[order], targets[order]
    seen, waiting = set(start), list(start)
    for node in waiting:
        low, high = np.searchsorted(targets, [node, node + 1])
        for source in sources[low:high].tolist():
            if source not in seen:
                seen.add(source)
                waiting.append(source)
                yield source


def edges_of(columns: GraphColumns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges of a graph: gradient flows from the first to the second."""
    record, path = columns.record, columns.session.path
    count = record.edge_count
    return (
        as_indices(record.edge_source, path, count, record.node_count),
        as_indices(record.edge_target, path, count, record.node_count),
    )

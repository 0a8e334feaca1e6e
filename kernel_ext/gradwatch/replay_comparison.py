"""Compares a step that was run again with the recorded one: gradients in backward's order, and the first that parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from gradwatch.records import STATISTIC_DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.session.gradients import GradientRows
    from gradwatch.session.graph import GraphView, NodeView
    from gradwatch.session.session import Session
    from gradwatch.session.steps import BackwardView

COUNTS = frozenset(name for name, dtype in STATISTIC_DTYPES.items() if dtype == "<u8")
Compared = Literal["node", "module", "parameter"]
KINDS: tuple[Compared, ...] = ("node", "module", "parameter")


@dataclass(frozen=True, slots=True)
class Parted:
    """The first place where the replayed step was another: `was` and `now` of `what`.

    `kind` is "loss", "calls" (how many backward calls there were), "graph" (a node is another one), or the kind
    of subject whose gradient parted. `module` and `line` are the recorded node's, where one is known.
    """

    kind: Literal["loss", "calls", "graph", "node", "module", "parameter"]
    name: str
    what: str
    was: str | float
    now: str | float
    backward: int = -1
    module: str = ""
    line: str | None = None


@dataclass(slots=True)
class Comparison:
    """What was compared, by kind of subject, and the first place that parted."""

    compared: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    parted: Parted | None = None
    parted_count: int = 0

    @property
    def identical(self) -> bool | None:
        """None where nothing was recorded to compare with."""
        if self.parted is not None:
            return False
        return True if any(self.compared.values()) else None


class StepComparison:
    """Step `step` of `recorded` beside step 0 of `replayed`. `tolerance` is relative; 0 asks for the same bits."""

    def __init__(self, recorded: Session, step: int, replayed: Session, tolerance: float) -> None:
        self._recorded, self._step = recorded, step
        self._replayed = replayed
        self._tolerance = tolerance

    def compare(self) -> Comparison:
        """Compare all that both have. The first place in backward's order is the one that is told."""
        found = Comparison()
        calls = _calls(self._recorded, self._step)
        again = _calls(self._replayed, 0)
        if not calls:
            return found
        if len(calls) != len(again):
            self._note(found, Parted("calls", "backward calls", "number", len(calls), len(again)))
        for before, after in zip(calls, again, strict=False):
            for parted in self._call(before, after, found):
                self._note(found, parted)
        if found.parted is None:
            for parted in self._losses():
                self._note(found, parted)
        return found

    def _note(self, found: Comparison, parted: Parted) -> None:
        found.parted = found.parted or parted
        found.parted_count += 1

    def _losses(self) -> Iterator[Parted]:
        was, now = self._recorded.step(self._step).loss, self._replayed.step(0).loss
        if was is not None and now is not None and not self._same("loss", was, now):
            yield Parted("loss", "loss", "value", was, now)

    def _call(self, before: BackwardView, after: BackwardView, found: Comparison) -> Iterator[Parted]:
        graph, other = _graph(before), _graph(after)
        if graph is not None and other is not None:
            differs = _first_other_node(graph, other)
            if differs is not None:
                yield differs
        order = {} if graph is None else backward_order(graph)
        parted: list[tuple[int, int, int, Parted]] = []
        for rank, kind in enumerate(KINDS):
            if kind == "node" and (graph is None or other is None or _first_other_node(graph, other) is not None):
                continue  # node numbers mean the same in one structure only
            for position, each in self._rows(kind, (before, after), found):
                place = position if kind == "node" else _place_of(kind, each.name, order)
                node = place if graph is not None and place >= 0 else -1
                # In one place the outer module comes first; where no place is known, the model's last.
                tie = len(each.name) if place >= 0 else -position
                parted.append((-place, rank, tie, _placed(each, graph, node)))
        yield from (entry[-1] for entry in sorted(parted, key=lambda entry: entry[:3]))

    def _rows(
        self, kind: Compared, calls: tuple[BackwardView, BackwardView], found: Comparison
    ) -> Iterator[tuple[int, Parted]]:
        """Subjects whose statistics part in a pair of calls: nodes by number, others by name."""
        before = self._recorded.gradients_at(self._step, kind, micro_batches=True).of_backward(calls[0].index)
        after = self._replayed.gradients_at(0, kind, micro_batches=True).of_backward(calls[1].index)
        theirs = {key: position for position, key in enumerate(_keys(after, kind))}
        for position, key in enumerate(_keys(before, kind)):
            found.compared[kind] += 1
            name = before.names[position]
            subject = int(before.subjects[position])
            if key not in theirs:
                yield subject, Parted(kind, name, "gradient", "recorded", "none", calls[0].index)
                continue
            was, now = before.row(position), after.row(theirs[key])
            # A mean may cancel to nothing: within a tolerance it is as large as the values are.
            size = was["l1"] / max(was["count"], 1)
            different = next((each for each in was if not self._same(each, was[each], now[each], size)), None)
            if different is not None:
                yield subject, Parted(kind, name, different, was[different], now[different], calls[0].index)
        unseen = theirs.keys() - set(_keys(before, kind))
        if len(before):
            for key in sorted(unseen, key=str):
                position = theirs[key]
                name, subject = after.names[position], int(after.subjects[position])
                yield subject, Parted(kind, name, "gradient", "none", "there", calls[0].index)

    def _same(self, name: str, was: float, now: float, size: float = 0.0) -> bool:
        if was == now or (math.isnan(was) and math.isnan(now)):
            return True
        if not self._tolerance or (name in COUNTS and name not in ("zeros", "subnormals")):
            return False
        if name in COUNTS:
            return True  # values near zero fall to either side within a tolerance
        least = self._tolerance * size if name == "mean" and math.isfinite(size) else 0.0
        both = math.isfinite(was) and math.isfinite(now)
        return both and math.isclose(was, now, rel_tol=self._tolerance, abs_tol=least)


def backward_order(graph: GraphView) -> dict[tuple[str, str], int]:
    """By (kind, name): the number of the node whose backward computes a gradient; higher runs earlier."""
    order: dict[tuple[str, str], int] = {}
    for source, target in zip(
        graph.edge_columns["source"].tolist(), graph.edge_columns["target"].tolist(), strict=True
    ):
        parameter = cast("NodeView", graph.nodes[target]).parameter
        if parameter is not None:
            key = ("parameter", parameter)
            order[key] = max(order.get(key, -1), source)
    for index, node in enumerate(graph.nodes):
        parts = node.module.split(".") if node.module else []
        for depth in range(len(parts)):
            order[("module", ".".join(parts[: depth + 1]))] = index
    return order


def _place_of(kind: Compared, name: str, order: dict[tuple[str, str], int]) -> int:
    """Where backward computes a gradient; -1 not known. A root's own output comes before all inside it."""
    if kind != "module":
        return order.get((kind, name), -1)
    module = name.partition("#")[0].partition("[")[0]
    if ("module", module) in order:
        return order["module", module]
    return -1 if "." in module else max((place for (what, _), place in order.items() if what == "module"), default=-1)


def _keys(rows: GradientRows, kind: Compared) -> list[int | str]:
    return list(rows.subjects.tolist()) if kind == "node" else list(rows.names)


def _calls(session: Session, step: int) -> list[BackwardView]:
    return session.step(step).backwards if step in {each.number for each in session.steps} else []


def _graph(call: BackwardView) -> GraphView | None:
    return call.graph if call.graph_id >= 0 else None


def _first_other_node(graph: GraphView, other: GraphView) -> Parted | None:
    """The first node, in backward's order, that is not the same operation of the same module in both."""
    if graph.digest == other.digest:
        return None
    mine, theirs = list(graph.nodes), list(other.nodes)
    for was, now in zip(reversed(mine), reversed(theirs), strict=False):
        if (was.name, was.module, was.parameter) != (now.name, now.module, now.parameter):
            return Parted(
                "graph", was.name, "operation", was.name, now.name, graph.backward.index, was.module, was.line
            )
    if len(mine) != len(theirs):
        return Parted("graph", "graph", "nodes", len(mine), len(theirs), graph.backward.index)
    return None


def _placed(parted: Parted, graph: GraphView | None, node: int) -> Parted:
    if graph is None or not 0 <= node < len(graph.nodes):
        return parted
    found = graph.nodes[node]
    return Parted(
        parted.kind, parted.name, parted.what, parted.was, parted.now, parted.backward, found.module, found.line
    )

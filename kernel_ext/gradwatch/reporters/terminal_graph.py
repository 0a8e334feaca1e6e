"""The autograd graph in the terminal reports: a tree of modules, input on top, loss at the bottom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gradwatch.errors import UsageError
from gradwatch.reporters import numbers, page
from gradwatch.reporters.module_tree import Branch, Fold, folded, module_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from gradwatch.reporters.json import GraphReport, GraphSummary, NodeRow

FITTING_ROWS = 60
"""Rows up to which a graph is drawn in full without being asked."""

_FIGURES_WIDTH = 26
"""Nodes, bytes, and the space between columns."""


@dataclass(frozen=True)
class TreeOptions:
    """`module`: only that one. `depth`: module levels shown. `nodes`: operations too. None is what fits."""

    module: str | None = None
    depth: int | None = None
    nodes: bool | None = None


@dataclass(frozen=True)
class _Line:
    indent: int
    fold: Fold
    prefix: str = ""

    @property
    def node(self) -> NodeRow | None:
        return None if isinstance(self.fold.first, Branch) else self.fold.first

    @property
    def name(self) -> str:
        """`attn`, `blocks.0`, `blocks.0–5 ×6` or `AddBackward0`."""  # noqa: RUF002 -- a range, a sign
        first, last = self.fold.first, self.fold.last
        times = f" {numbers.TIMES}{self.fold.times}" if self.fold.times > 1 else ""
        if not isinstance(first, Branch):
            return first["name"] + times
        to = f"–{last.name}" if isinstance(last, Branch) and last.name != first.name else ""  # noqa: RUF001 -- a range
        return self.prefix + first.name + to + times


def graph_sentence(summary: GraphSummary) -> str:
    """`31 nodes, 36 edges, 1.20 MiB saved · variant 1 of 2`."""
    size = f"{numbers.counted(summary['node_count'], 'node')}, {numbers.counted(summary['edge_count'], 'edge')}"
    variants = f" · structure {summary['variant'] + 1} of {summary['variants']}" if summary["variants"] > 1 else ""
    saved = f", {numbers.size(summary['saved_bytes'])} saved" if summary["saved_bytes"] else ""
    return size + saved + variants


def graph_tree(report: GraphReport, width: int, options: TreeOptions) -> RenderableType:
    """Lay out the tree. Raises UsageError where `options.module` names no module of the graph."""
    root = _chosen(module_tree(report["nodes"], report["graph"]["model"]), options.module)
    lines = _fitting_lines(root, options)
    nodes = [line.node for line in lines if line.node]
    places = page.Places([node["place"] for node in nodes])
    place_width = max((len(places.name(node["place"])) for node in nodes), default=0)
    heads = ("module, operation" if nodes else "module", "line" if place_width else "")
    made = page.table((heads[0], "left"), ("nodes", "right"), ("saved", "right"), (heads[1], "left"), ("", "left"))
    taken = max((2 * line.indent + len(line.name) for line in lines), default=0) + place_width + _FIGURES_WIDTH
    for before, line, after in zip([None, *lines], lines, [*lines[1:], None], strict=False):
        _add_line(made, line, places, _remark(before, line, after, max(8, width - taken)))
    hidden = root.node_count - sum(line.fold.node_count for line in lines if line.indent == 0)
    outside = f"and {numbers.counted(hidden, 'operation')} outside of these modules: --nodes shows them"
    return Group(made, Text(outside, "dim")) if hidden else made


def _chosen(root: Branch, module: str | None) -> Branch:
    branch = root
    for part in (module or "").split("."):
        inside = {item.name: item for item in branch.items if isinstance(item, Branch)}
        if part and part not in inside:
            place, there = branch.name or "the model", ", ".join(inside) or "no modules"
            raise UsageError(f"The graph has no module {module}: no {part!r} is in {place}, which has {there}.")
        branch = inside[part] if part else branch
    return branch


def _fitting_lines(root: Branch, options: TreeOptions) -> list[_Line]:
    """Draw all that was asked for; where nothing was, the most that fits in FITTING_ROWS."""
    if options.nodes is not None or options.depth is not None:
        return list(_lines(root.items, _Walk(bool(options.nodes), options.depth or 0)))
    lines: list[_Line] = []
    for walk in (_Walk(nodes=True), _Walk(), _Walk(depth=4), _Walk(depth=3), _Walk(depth=2), _Walk(depth=1)):
        lines = list(_lines(root.items, walk))
        if len(lines) <= FITTING_ROWS:
            break
    return lines


@dataclass(frozen=True)
class _Walk:
    """What to draw: operations or only modules, down to `depth` levels (0: all); and where the walk is."""

    nodes: bool = False
    depth: int = 0
    indent: int = 0
    prefix: str = ""


def _lines(items: Sequence[Branch | NodeRow], walk: _Walk) -> Iterator[_Line]:
    """Walk the tree, as deep as module names go. A module with nothing inside but one other shares its line."""
    for fold in folded([item for item in items if walk.nodes or isinstance(item, Branch)]):
        branch = fold.first
        if not isinstance(branch, Branch):
            yield _Line(walk.indent, fold)
        elif fold.times == 1 and _holds_one_module(branch):
            yield from _lines(branch.items, replace(walk, prefix=f"{walk.prefix}{branch.name}."))
        else:
            yield _Line(walk.indent, fold, walk.prefix)
            if walk.depth == 0 or walk.indent + 1 < walk.depth:
                yield from _lines(branch.items, replace(walk, indent=walk.indent + 1, prefix=""))


def _holds_one_module(branch: Branch) -> bool:
    inside = folded(branch.items)
    return len(inside) == 1 and isinstance(inside[0].first, Branch)


def _remark(before: _Line | None, line: _Line, after: _Line | None, width: int) -> str:
    """Quote the source line, once where several operations share it; under a fold only one of it is drawn."""
    if line.node is None:
        return "one of them below" if line.fold.times > 1 and after and after.indent > line.indent else ""
    place = line.node["place"]
    quoted = before is not None and before.node is not None and before.node["place"] == place
    return "" if place is None or quoted else page.cut(place["text"] or "", width)


def _add_line(made: Table, line: _Line, places: page.Places, remark: str) -> None:
    fold, node, indent = line.fold, line.node, "  " * line.indent
    saved = numbers.size(fold.saved_bytes) if fold.saved_bytes else "·"
    if node is None:
        made.add_row(Text(indent + line.name), numbers.count(fold.node_count), saved, "", Text(remark, "dim"))
        return
    label = Text.assemble(indent, (line.name, "dim"), (f" {node['label']}" if node["label"] else "", "yellow"))
    made.add_row(label, "", saved, Text(places.name(node["place"]), page.ACCENT), Text(remark, "dim"))

"""The autograd graph in HTML reports: modules that open to their operations, input on top, loss at the bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.reporters import numbers, page
from gradwatch.reporters.html_marks import indent, size, text
from gradwatch.reporters.module_tree import Branch, Fold, folded, module_tree

if TYPE_CHECKING:
    from gradwatch.reporters.json import GraphReport, NodeRow, Place

ROWS_OPEN = 60
"""Rows up to which modules stand open, the outer ones first."""

DEEPEST = 40
"""Levels of modules drawn inside each other; names do not nest deeper in practice."""


def tree(report: GraphReport) -> str:
    """Lay out the graph's operations under their modules."""
    root = module_tree(report["nodes"], report["graph"]["model"])
    layout = _Layout(report, root)
    head = (
        '<div class="gw-row gw-node gw-head"><div>module, operation</div><div class="gw-p1">output</div>'
        '<div class="gw-r">saved</div><div class="gw-p2">line</div></div>'
    )
    return head + layout.items(root, 0)


class _Layout:
    def __init__(self, report: GraphReport, root: Branch) -> None:
        self._open_depth = _fitting_depth(root)
        self._places = page.Places([node["place"] for node in report["nodes"]])

    def items(self, branch: Branch, depth: int) -> str:
        return "".join(self._fold(fold, depth) for fold in folded(branch.items))

    def _fold(self, fold: Fold, depth: int) -> str:
        first, last = fold.first, fold.last
        times = f" {numbers.TIMES}{fold.times}" if fold.times > 1 else ""
        if not isinstance(first, Branch):
            return self._node(first, first["name"] + times, fold.saved_bytes, depth)
        to = f"–{last.name}" if isinstance(last, Branch) and last.name != first.name else ""  # noqa: RUF001 # a range
        cells = _cells(first.name + to + times, numbers.counted(fold.node_count, "node"), fold.saved_bytes, "")
        inner = self.items(first, depth + 1) if depth < DEEPEST else ""
        if fold.times > 1:
            one = f'<div class="gw-row gw-node gw-c"{indent(depth + 1)}><div class="gw-n">one of them:</div></div>'
            inner = one + inner
        is_open = " open" if depth < self._open_depth else ""
        return f'<details{is_open}><summary class="gw-row gw-node"{indent(depth)}>{cells}</summary>{inner}</details>'

    def _node(self, node: NodeRow, name: str, saved_bytes: int, depth: int) -> str:
        shapes = ", ".join(numbers.shape(output["shape"]) for output in node["outputs"][:2])
        cells = _cells(name, shapes, saved_bytes, self._line(node["place"]), _remark(node))
        return f'<div class="gw-row gw-node"{indent(depth)} title="{text(_saved(node))}">{cells}</div>'

    def _line(self, place: Place | None) -> str:
        if place is None:
            return ""
        quote = f" <code>{text(place['text'])}</code>" if place["text"] else ""
        return f'<span class="gw-m gw-a">{text(self._places.name(place))}</span>{quote}'


def _fitting_depth(root: Branch) -> int:
    """Find how many levels of modules can stand open within ROWS_OPEN rows."""
    level, rows, depth = [root], 0, -1
    while level:
        items = [fold.first for branch in level for fold in folded(branch.items)]
        rows += len(items)
        if rows > ROWS_OPEN:
            break
        level = [item for item in items if isinstance(item, Branch)]
        depth += 1
    return max(depth, 0)


def _cells(name: str, output: str, saved_bytes: int, line: str, remark: str = "") -> str:
    saved = size(saved_bytes) if saved_bytes else '<span class="gw-d">·</span>'
    label = f' <span class="gw-warn">{text(remark)}</span>' if remark else ""
    return (
        f'<div class="gw-n"><span class="gw-x" title="{text(name)}">{text(name)}{label}</span></div>'
        f'<div class="gw-x gw-p1 gw-d">{text(output)}</div><div class="gw-r">{saved}</div>'
        f'<div class="gw-x gw-p2">{line}</div>'
    )


def _remark(node: NodeRow) -> str:
    made = "made in backward" if node["in_backward"] else ""
    return ", ".join(part for part in (node["label"] or "", made) if part)


def _saved(node: NodeRow) -> str:
    """Name each saved tensor, for the tooltip."""
    parts = [
        f"{saved['role']} {numbers.shape(saved['shape'])} {saved['dtype']} {numbers.size(saved['bytes'])} "
        f"({saved['tensor_class']})"
        for saved in node["saved"]
    ]
    lines = [node["label_text"] or "", f"saved: {', '.join(parts)}" if parts else "saves nothing"]
    return "\n".join(line for line in lines if line)

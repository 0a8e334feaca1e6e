"""Nodes of a graph as a tree of modules, with repeated blocks folded: what the graph reports draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradwatch.reporters.json import NodeRow


@dataclass
class Branch:
    """A module and what ran in it, in forward order: modules inside it, and operations of its own."""

    name: str
    items: list[Branch | NodeRow] = field(default_factory=list["Branch | NodeRow"])
    node_count: int = 0
    saved_bytes: int = 0

    def child(self, name: str) -> Branch:
        for item in self.items:
            if isinstance(item, Branch) and item.name == name:
                return item
        made = Branch(name)
        self.items.append(made)
        return made


@dataclass(frozen=True)
class Fold:
    """Neighbours that differ in nothing but an index (or, for operations, in nothing), shown once."""

    first: Branch | NodeRow
    last: Branch | NodeRow
    times: int
    node_count: int
    saved_bytes: int


def module_tree(nodes: Iterable[NodeRow], model: str | None) -> Branch:
    """Put nodes under their modules, and those of `model` itself at the top.

    Leaves (parameters) are left out, being no operation.
    """
    root = Branch(model or "")
    for node in nodes:
        if node["parameter"] is None:
            _add(root, node, "" if node["module"] == model else node["module"] or "")
    return root


def folded(items: Sequence[Branch | NodeRow]) -> list[Fold]:
    """Fold neighbours with the same signature."""
    runs: list[list[Branch | NodeRow]] = []
    before: object = None
    for item in items:
        signature = _signature(item, outermost=True)
        if not runs or signature != before:
            runs.append([])
        runs[-1].append(item)
        before = signature
    return [_fold(run) for run in runs]


def _add(root: Branch, node: NodeRow, module: str) -> None:
    branches = [root]
    for part in module.split("."):
        if part:
            branches.append(branches[-1].child(part))
    branches[-1].items.append(node)
    for branch in branches:
        branch.node_count += 1
        branch.saved_bytes += node["saved_bytes"]


def _fold(run: list[Branch | NodeRow]) -> Fold:
    return Fold(
        run[0],
        run[-1],
        len(run),
        sum(item.node_count if isinstance(item, Branch) else 1 for item in run),
        sum(item.saved_bytes if isinstance(item, Branch) else item["saved_bytes"] for item in run),
    )


def _signature(item: Branch | NodeRow, *, outermost: bool = False) -> object:
    """What two blocks must share to be folded: the operations inside. The outermost name may differ in its index."""
    if not isinstance(item, Branch):
        place = item["place"]
        return (item["name"], item["label"], (place["file"], place["line"]) if place and outermost else None)
    name = "*" if outermost and item.name.isdigit() else item.name
    return (name, tuple(_signature(inner) for inner in item.items))

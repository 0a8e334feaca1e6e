"""Whether one line of the program holds much of what backward waits for, at a stop. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gradwatch.findings.stop_columns import numbers
from gradwatch.findings.words import size
from gradwatch.records import TENSOR_CLASSES, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.records import Graph, Ledger, Snapshot

SHARE = 0.5
"""Of what is held. A line that holds less is one of several."""
LEAST_BYTES = 64 << 20
"""A program that holds less has no trouble with memory."""
MOST_ROWS = 50_000
"""Of a larger ledger the panel's own view tells: this must be quick."""

_HELD = {TENSOR_CLASSES.index(name) for name in ("activation", "input", "not observable")}


def held_by_one_line(snapshot: Snapshot) -> Iterator[Finding]:
    """A note where one line holds at least SHARE of what is held for backward."""
    graph, ledger = snapshot.graph, snapshot.ledger
    if graph is None or ledger is None or ledger.saved_count > MOST_ROWS:
        return
    sizes, nodes = _by_line(graph, ledger)
    held = sum(sizes.values())
    site, most = max(sizes.items(), key=lambda pair: pair[1], default=(-1, 0))
    if site < 0 or most < LEAST_BYTES or most < SHARE * held or len(sizes) == 1:
        return
    yield Finding(
        kind="held",
        severity="note",
        title="One line holds most",
        sentence=f"{size(most)} of the {size(held)} held for backward were saved by one line.",
        fix="torch.utils.checkpoint around it frees what it saved, for the time of running it again.",
        graph=graph.id,
        nodes=nodes[site],
        site=site,
        bytes=most,
        evidence=[f"{len(nodes[site]):,} nodes of this line, {most / held:.1%} of what is held"],
    )


def _by_line(graph: Graph, ledger: Ledger) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Bytes and nodes of each line; a storage counts once, where it was saved first."""
    project, user = numbers(graph.project_site), numbers(graph.site)
    own, classes, sizes = numbers(ledger.site), numbers(ledger.storage_class), numbers(ledger.storage_bytes)
    by_line: dict[int, int] = defaultdict(int)
    nodes: dict[int, list[int]] = defaultdict(list)
    counted: set[int] = set()
    for node, site, storage in zip(numbers(ledger.node), own, numbers(ledger.storage), strict=True):
        if storage in counted or classes[storage] not in _HELD:
            continue
        counted.add(storage)
        line = site if site >= 0 or node < 0 else project[node] if project[node] >= 0 else user[node]
        by_line[line] += sizes[storage]
        if node >= 0 and (not nodes[line] or nodes[line][-1] != node):
            nodes[line].append(node)
    return by_line, nodes

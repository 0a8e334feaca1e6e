"""Session -> compiled regions that a graph's nodes open into, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradwatch.session.compiled import INPUT

if TYPE_CHECKING:
    from gradwatch.reporters.json import RegionLine, RegionOp, RegionRow
    from gradwatch.reporters.places import Quotes
    from gradwatch.session.compiled import CompiledView, OpView
    from gradwatch.session.graph import GraphView


def region_rows(quotes: Quotes, graph: GraphView) -> list[RegionRow]:
    """Every region that a node of the graph opens into, once each."""
    ids = sorted({label.region for label in graph.labels.values() if label.region >= 0})
    regions = (graph.columns.session.compiled(number) for number in ids)
    return [_region(quotes, region) for region in regions if region is not None]


def _region(quotes: Quotes, region: CompiledView) -> RegionRow:
    return {
        "region": region.id,
        "name": region.name,
        "backend": region.backend,
        "forward_ops": len(region.forward),
        "backward_ops": len(region.backward),
        "saved": len(region.saved),
        "recomputed": len(region.recomputed),
        "lines": _lines(quotes, region),
        "ops": [_op(quotes, op) for op in region.ops],
    }


def _lines(quotes: Quotes, region: CompiledView) -> list[RegionLine]:
    """What each line of the user's computes in the forward, in the order of their first ops."""
    lines: dict[str | None, RegionLine] = {}
    for op in region.ops:
        if op.target == INPUT:
            continue
        line = lines.get(op.line)
        if line is None:
            place = quotes.place(op.line)
            line = lines[op.line] = {"place": place, "forward_ops": 0, "backward_ops": 0, "saved": [], "recomputed": []}
        if op.phase == "forward":
            line["forward_ops"] += 1
        else:
            line["backward_ops"] += 1
        if op.saved:
            line["saved"].append(op.name)
        if op.recomputed:
            line["recomputed"].append(op.name)
    return list(lines.values())


def _op(quotes: Quotes, op: OpView) -> RegionOp:
    forward = op.forward_op
    return {
        "index": op.index,
        "name": op.name,
        "target": op.target,
        "phase": "forward" if op.phase == "forward" else "backward",
        "module": op.module or None,
        "place": quotes.place(op.line),
        "shape": None if op.shape is None else list(op.shape),
        "dtype": op.dtype,
        "saved": op.saved,
        "recomputed": op.recomputed,
        "forward_op": None if forward is None else forward.index,
        "uses": [source.index for source in op.uses],
    }

"""Comparison -> the content of `gradwatch diff`, in the shapes of diff_json.py."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

from gradwatch.reporters.diff_json import DIFF_VERSION
from gradwatch.reporters.json import REPORT_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradwatch.reporters import diff_json as shapes
    from gradwatch.reporters.json import Place
    from gradwatch.session.compare_curves import Curves
    from gradwatch.session.compare_graphs import ComparedNode, GraphDifference
    from gradwatch.session.compare_held import HeldChange, HeldDifference
    from gradwatch.session.compare_result import Comparison, GradientParting, NodeParting, Parting
    from gradwatch.session.session import Session

CURVE_POINTS = 1000
"""Steps of the curves at most."""


def diff_report(comparison: Comparison) -> shapes.DiffReport:
    """Say what `gradwatch diff` says. The sessions of `comparison` must still be open."""
    names, tolerance, loss = comparison.names, comparison.tolerance, comparison.loss
    (first_a, first_b), (last_a, last_b) = comparison.steps[0], comparison.steps[-1]
    return {
        "format": REPORT_FORMAT,
        "version": DIFF_VERSION,
        "command": "diff",
        "parts": comparison.parts,
        "a": _session(comparison.a),
        "b": _session(comparison.b),
        "tolerance": {"rtol": tolerance.rtol, "atol": tolerance.atol},
        "compared": {
            "steps": len(comparison.steps),
            "parameter": comparison.compared["parameter"],
            "module": comparison.compared["module"],
            "node": comparison.compared["node"],
        },
        "first_steps": {"a": first_a, "b": first_b},
        "last_steps": {"a": last_a, "b": last_b},
        "gradients": _gradients(comparison.gradients) if comparison.gradients else None,
        "loss": {"step": loss.step_a, "step_b": loss.step_b, "a": loss.a, "b": loss.b, "relative": loss.relative}
        if loss
        else None,
        "curves": _curves(comparison.curves),
        "held": _held(comparison.held) if comparison.held else None,
        "graph": _graph(comparison.graph) if comparison.graph else None,
        "only_a": _only(names.parameter.only_a, names.module.only_a, comparison.only_steps_a),
        "only_b": _only(names.parameter.only_b, names.module.only_b, comparison.only_steps_b),
        "notes": list(comparison.notes),
    }


def _session(session: Session) -> shapes.DiffSession:
    run, steps = session.run, session.steps
    return {
        "path": str(session.path),
        "gradwatch_version": run.gradwatch_version,
        "detail": run.detail,
        "started": datetime.fromtimestamp(run.start_ns / 1e9, tz=timezone.utc).isoformat(timespec="seconds"),
        "argv": list(run.argv),
        "rank": run.rank,
        "world_size": run.world_size,
        "torch_version": run.torch_version,
        "devices": list(run.devices),
        "git_revision": run.git_revision,
        "git_dirty": run.git_dirty,
        "steps": len(steps),
        "first_step": steps[0].number if len(steps) else None,
        "last_step": steps[-1].number if len(steps) else None,
        "finish_reason": session.finish.reason if session.finish else None,
        "gaps": len(session.gaps),
    }


def _gradients(parting: GradientParting) -> shapes.GradientPartingRow:
    return {
        "step": parting.step_a,
        "step_b": parting.step_b,
        "first": _parting(parting.first),
        "nodes": [_parting(each) for each in parting.nodes],
        "modules": [_parting(each) for each in parting.modules],
        "parameters": [_parting(each) for each in parting.parameters],
    }


def _parting(parting: Parting) -> shapes.PartingRow:
    return {
        "kind": parting.kind,
        "backward": parting.at.backward,
        "name": parting.name_a,
        "name_b": parting.name_b,
        "relative": parting.relative,
        "only": "a" if parting.b is None else "b" if parting.a is None else None,
        "gaps": [
            {"statistic": gap.statistic, "a": gap.a, "b": gap.b, "relative": gap.relative, "parts": gap.parts}
            for gap in parting.gaps
        ],
        "node": _node_parting(parting.node) if parting.node else None,
    }


def _node_parting(where: NodeParting) -> shapes.NodePartingRow:
    return {
        "a": _node(where.a),
        "b": _node(where.b),
        "givers_a": [_node(giver) for giver in where.givers_a],
        "givers_b": [_node(giver) for giver in where.givers_b],
        "same_givers": where.same_givers,
        "givers_agree": where.givers_agree,
    }


def _node(node: ComparedNode) -> shapes.DiffNode:
    return {
        "index": node.index,
        "name": node.name,
        "module": node.module or None,
        "parameter": node.parameter,
        "place": _place(node),
    }


def _place(node: ComparedNode) -> Place | None:
    file, _, line = (node.line or "").rpartition(":")
    return {"file": file, "line": int(line), "text": node.text} if file and line.isdigit() else None


def _curves(curves: Curves) -> shapes.DiffCurves:
    kept = _kept(curves.difference)
    return {
        "steps": [curves.steps[at][0] for at in kept],
        "steps_b": [curves.steps[at][1] for at in kept],
        "loss_a": [curves.loss_a[at] for at in kept],
        "loss_b": [curves.loss_b[at] for at in kept],
        "norm_a": [curves.norm_a[at] for at in kept],
        "norm_b": [curves.norm_b[at] for at in kept],
        "difference": [curves.difference[at] for at in kept],
        "held_a": [curves.held_a[at] for at in kept],
        "held_b": [curves.held_b[at] for at in kept],
    }


def _kept(difference: Sequence[float | None]) -> list[int]:
    """Positions of CURVE_POINTS at most: of each stretch the one that differs most, the last of equals."""
    points = min(len(difference), CURVE_POINTS)
    edges = [round(index * len(difference) / points) for index in range(points + 1)]
    stretches = (range(start, end) for start, end in pairwise(edges))
    return [max(stretch, key=lambda at: (difference[at] or 0.0, at)) for stretch in stretches]


def _held(held: HeldDifference) -> shapes.HeldDiff:
    return {
        "step": held.at.step_a,
        "step_b": held.at.step_b,
        "backward": held.at.backward,
        "total_a": held.total_a,
        "total_b": held.total_b,
        "peak_a": held.peak_a,
        "peak_b": held.peak_b,
        "by_line": [_change(row) for row in held.by_line],
        "by_module": [_change(row) for row in held.by_module],
    }


def _change(row: HeldChange) -> shapes.HeldChangeRow:
    return {
        "label_a": row.label_a,
        "label_b": row.label_b,
        "bytes_a": row.bytes_a,
        "bytes_b": row.bytes_b,
        "delta": row.delta,
        "text": row.text,
    }


def _graph(graph: GraphDifference) -> shapes.GraphDiff:
    return {
        "step": graph.step_a,
        "step_b": graph.step_b,
        "backward": graph.backward,
        "nodes_a": graph.nodes_a,
        "nodes_b": graph.nodes_b,
        "only_a": [_node(node) for node in graph.only_a],
        "only_b": [_node(node) for node in graph.only_b],
        "changed": [{"a": _node(each.a), "b": _node(each.b), "what": list(each.what)} for each in graph.changed],
    }


def _only(parameters: Sequence[str], modules: Sequence[str], steps: Sequence[int]) -> shapes.OnlyRow:
    return {"parameters": list(parameters), "modules": list(modules), "steps": list(steps)}

"""Why backward stopped, in words: the `reason` that stands in the stopped frame and in the panel."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradwatch.capture.condition_targets import ConditionedGraph
    from gradwatch.capture.gradient_checks import Check
    from gradwatch.records import Condition


def of_arrival(condition: Condition, graph: ConditionedGraph, position: int) -> str:
    """Reaching a node, whatever its gradient."""
    name = graph.walked.names[position]
    if condition.kind == "next node":
        return f"Next node: {_node(graph, position)}"
    if condition.kind == "node":
        return f"Break at node: {_node(graph, position)}"
    if condition.kind == "parameter":
        return f"Gradient of {condition.parameter}"
    what = "a parameter" if name == "AccumulateGrad" else "an output"
    return f"Gradient of {what} of {condition.module}"


def of_norm(limit: float, position: int, found: Check) -> str:
    norm = "Inf" if found.inf else f"{found.norm:.4g}"
    return f"Norm {norm} of grad_outputs[{position}] is above {limit:.4g}"


def of_made(graph: ConditionedGraph, node: int, position: int, found: Check) -> str:
    """A node gave out what is not finite."""
    return f"{found.describe()} from {_node(graph, node)}: grad_inputs[{position}] {_share(found)}"


def of_passed_on(graph: ConditionedGraph, node: int, position: int, found: Check) -> str:
    """A node was given what is not finite, though no node gave it out: a hook of the program did."""
    name = graph.walked.names[node]
    return f"{found.describe()} in grad_outputs[{position}] {_share(found)}: a hook changed it before {name}"


def of_given(graph: ConditionedGraph, node: int, position: int, found: Check) -> str:
    """A node is given what is not finite, before it runs."""
    walked = graph.walked
    text = f"{found.describe()} in grad_outputs[{position}] {_share(found)}"
    if node in walked.roots:
        return f"{text}: it was given to backward"
    sources = int((walked.edge_target == node).sum())
    if sources > 1 and not graph.begun:
        return f"{text}: the sum of {sources} gradients, or a hook on it"
    return text if graph.begun else f"{text}: after a tensor hook"


def _share(found: Check) -> str:
    return f"({found.nonfinite:,} of {found.values:,})"


def _node(graph: ConditionedGraph, position: int) -> str:
    name, places = graph.walked.names[position], graph.places
    line = places.lines[position][-1:]
    where = [places.modules[position], *(PurePath(each).name for each in line)]
    known = ", ".join(each for each in where if each)
    return f"{name} ({known})" if known else name

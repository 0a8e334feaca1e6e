"""Gradients that are all zeros, and what masks them: between the last gradient that is not zero and the parameter."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.findings import words
from gradwatch.findings.cuts import downstream
from gradwatch.findings.paths import Paths
from gradwatch.findings.reach import Reach
from gradwatch.records import Backward, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Severity
    from gradwatch.session.graph import GraphColumns
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session


@dataclass(frozen=True, slots=True)
class Mask:
    """The node that lets nothing through; without one (-1) it is not known."""

    cause: str = "unknown"
    graph: int = -1
    node: int = -1
    is_measured: bool = False
    """Whether the gradient that comes to this node was measured, and not only that of the module around it."""


_MASKS = (
    (r"Relu|Threshold|Hardtanh|LeakyRelu", "masked by ReLU"),
    (r"Dropout", "masked by dropout"),
    (r"Clamp|Clip", "clamped"),
    (r"MaskedFill|Where|MaskedScatter|MaskedSelect", "masked"),
    (r"(Log)?Softmax|Sigmoid|Tanh", "saturated"),
    (r"Sign|Round|Floor|Ceil|Trunc|Heaviside", "derivative is zero"),
    (r"Mul|Div", "multiplied by 0"),
)
"""Nodes that can make a gradient zero, the likeliest first."""

_FIXES = {
    "masked by ReLU": "Use LeakyReLU or GELU, or a lower learning rate: one never above 0 passes nothing.",
    "masked by dropout": "Lower p: dropout with p=1 passes nothing.",
    "clamped": "Keep the value inside the limits of the clamp; a loss with a margin that is met needs nothing.",
    "masked": "Look at the mask: it leaves nothing of this branch.",
    "derivative is zero": "Pass the gradient straight through: x + (round(x) - x).detach().",
    "multiplied by 0": "Look at the factor: where it is 0, so is every gradient behind it.",
    "saturated": "Make what goes into it smaller: far from 0 its slope is rounded to 0.",
    "its input is zero": "Look at the layers before it: they give nothing but zeros at these steps.",
    "unknown": "Record with --detail nodes: the gradient of each operation says where it becomes zero.",
}


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Parameters that backward reaches and that get nothing but zeros, by what masks them."""
    reach = Reach.of(session)
    groups: defaultdict[tuple[Mask, Severity], list[ParameterView]] = defaultdict(list)
    for view in reach.trainable:
        zeros = _zero_steps(reach, view)
        if zeros:
            groups[_mask(reach, view, zeros[-1]), _severity(reach, view, zeros, thresholds)].append(view)
    explained = _explained(reach, groups)
    for (mask, severity), views in groups.items():
        told = [view for view in views if view.id not in explained]
        behind = [view for view in reach.trainable if explained.get(view.id) == mask]
        if told:
            yield _finding(reach, mask, severity, told, behind)


def _explained(reach: Reach, groups: dict[tuple[Mask, Severity], list[ParameterView]]) -> dict[int, Mask]:
    """Weights whose input is all zeros, with the mask in front of them that makes it so and is told of anyway."""
    found: dict[int, Mask] = {}
    masks = {mask: severity for mask, severity in groups if mask.cause == "masked by ReLU"}
    for (mask, severity), views in groups.items():
        for view in views if mask.cause == "its input is zero" else ():
            before = [each for each in masks if masks[each] in ("warning", severity) and _is_before(reach, each, view)]
            if before:
                found[view.id] = before[0]
    return found


def _is_before(reach: Reach, mask: Mask, view: ParameterView) -> bool:
    paths = Paths(reach.session, mask.graph)
    leaf = paths.leaf_of(view.id)
    takers = paths.up(leaf) if leaf >= 0 else []
    takers = [*takers, *(node for taker in takers for node in paths.up(taker) if paths.names[taker] == "TBackward0")]
    return mask.node in paths.below(takers)


def _zero_steps(reach: Reach, view: ParameterView) -> list[int]:
    """The steps up to the last one at which a parameter's gradient was all zeros; none where the last was not."""
    zeros: list[int] = []
    for step, row in reversed(reach.seen(view.id).items()):
        if not row.is_zero:
            break
        zeros.append(step)
    return zeros[::-1]


def _severity(
    reach: Reach,
    view: ParameterView,
    zeros: list[int],
    thresholds: Thresholds,
) -> Severity:
    always = len(zeros) == len(reach.seen(view.id))
    enough = len(zeros) >= (thresholds.zero_steps if always else thresholds.zero_steps_after_others)
    return "warning" if enough else "note"


def _has_zero_input(reach: Reach, view: ParameterView, step: int) -> bool:
    """Whether the bias beside a weight has a gradient that is not zero: then what was multiplied by the weight is."""
    beside = [each for each in reach.trainable if each.module == view.module and "bias" in each.path.rpartition(".")[2]]
    rows = [row for each in beside if (row := reach.seen(each.id).get(step)) is not None]
    is_weight = "weight" in view.path.rpartition(".")[2] and view.module is not None
    return is_weight and any(row.is_finite and not row.is_zero for row in rows)


def _mask(reach: Reach, view: ParameterView, step: int) -> Mask:
    if _has_zero_input(reach, view, step):
        return Mask("its input is zero")
    graph = _graph_of(reach.session, step, view.id)
    columns = reach.session.graph_columns(graph)
    if columns is None:
        return Mask()
    leaves = np.flatnonzero(columns.parameter_id == view.id).tolist()
    zero = _ZeroParts(reach.session, step)
    candidates = [(node, cause) for node in downstream(columns, leaves) if (cause := _cause(columns.name(node)))]
    for node, cause in candidates:
        if not zero.has(columns, node):
            return Mask(cause, graph, node, zero.measured(columns, node))
    return Mask()


def _cause(name: str) -> str:
    return next((cause for pattern, cause in _MASKS if re.match(rf"(Native|Fused)?({pattern})", name)), "")


class _ZeroParts:
    """Modules and nodes whose output's gradient was all zeros at a step: the mask lies further towards the loss."""

    def __init__(self, session: Session, step: int) -> None:
        self._modules = set(_zero_modules(session, step))
        rows = session.gradients_at(step, "node")
        self._nodes = {int(rows.subjects[i]) for i in np.flatnonzero((rows.zeros == rows.count) & (rows.count > 0))}
        self._measured_nodes = set(rows.subjects.tolist())
        modules = session.gradients_at(step, "module")
        self._measured_modules = set(modules.names)

    def has(self, columns: GraphColumns, node: int) -> bool:
        return node in self._nodes or int(columns.module_id[node]) in self._modules

    def measured(self, columns: GraphColumns, node: int) -> bool:
        """Whether a node's own gradient is known: that of an activation's module is."""
        module = columns.module(node)
        inside = any(name.startswith(f"{module}.") for name in self._measured_modules)
        return node in self._measured_nodes or (module in self._measured_modules and not inside and "." in module)


def _zero_modules(session: Session, step: int) -> Iterator[int]:
    rows = session.gradients_at(step, "module")
    names = dict(zip(session.modules.names, session.modules, strict=True))
    for position, name in enumerate(rows.names):
        if 0 < rows.count[position] == rows.zeros[position] and name in names:
            yield names[name].id


def _graph_of(session: Session, step: int, parameter: int) -> int:
    """The graph of the step's call that leads to the parameter, or that of an earlier step."""
    calls = [call for call in session.reader.records_of_step(Backward, step) if call.graph >= 0]
    for call in calls:
        columns = session.graph_columns(call.graph)
        if columns is not None and parameter in columns.parameter_id:
            return call.graph
    return Reach.of(session).in_graphs.get(parameter, -1)


def _finding(
    reach: Reach,
    mask: Mask,
    severity: Severity,
    views: list[ParameterView],
    behind: list[ParameterView],
) -> Finding:
    steps = _zero_steps(reach, views[0])
    columns = reach.session.graph_columns(mask.graph) if mask.node >= 0 else None
    who, many = words.names([view.name for view in views]), len(views) > 1
    site, op, module = _place(reach.session, columns, mask)
    where = f" in {module}" if module else ""
    passes = "passes nothing back" if mask.is_measured else "probably passes nothing back"
    why = f": {op}{where} {passes}" if op else ""
    if mask.cause == "its input is zero":
        why = f": what goes into {words.names([view.module or view.name for view in views])} is all zeros"
    after = [f"zero as well, for its input is: {view.name}" for view in behind[: words.LISTED]]
    return Finding(
        kind="zero gradient",
        severity=severity,
        title=f"{words.counted(len(views), 'gradient')} all zeros",
        sentence=f"The {'gradients' if many else 'gradient'} of {who} {'are' if many else 'is'} exactly zero at "
        f"{_at(steps)}{why}.",
        cause=mask.cause,
        fix=_FIXES[mask.cause],
        steps=[steps[0], steps[-1]],
        graph=mask.graph,
        nodes=[mask.node] if mask.node >= 0 else [],
        parameters=[view.id for view in views],
        modules=[int(columns.module_id[mask.node])] if columns is not None and module else [],
        site=site,
        evidence=[
            f"{len(steps)} of {words.counted(len(reach.seen(views[0].id)), 'step')}",
            *words.by_module(views),
            *after,
        ],
        certainty="inferred",
    )


def _at(steps: list[int]) -> str:
    if len(steps) <= 2:
        return f"{'step' if len(steps) == 1 else 'steps'} {' and '.join(map(str, steps))}"
    return f"the {len(steps)} steps from {steps[0]} to {steps[-1]}"


def _place(session: Session, columns: GraphColumns | None, mask: Mask) -> tuple[int, str, str]:
    """Site, op and module of the mask."""
    if columns is None:
        return -1, "", ""
    site = session.site_of(mask.graph, mask.node, project=True)
    site = site if site >= 0 else int(columns.project_site_id[mask.node])
    return site, re.sub(r"Backward\d*$", "", columns.name(mask.node)), columns.module(mask.node)

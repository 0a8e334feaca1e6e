"""Dead units and channels, and saturated activations: where the gradient ends although it arrives."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradwatch.errors import GradwatchError
from gradwatch.findings.looked_at import gradients_of, steps_looked_at
from gradwatch.findings.paths import Paths
from gradwatch.findings.words import percent
from gradwatch.records import FanIns, Finding, GradientNoise
from gradwatch.session.columns import as_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Passage
    from gradwatch.session.session import Session

ZEROING = {
    "ReluBackward0": "ReLU",
    "ThresholdBackward0": "threshold",
    "HardtanhBackward0": "hardtanh",
    "HardswishBackward0": "hardswish",
    "HardsigmoidBackward0": "hardsigmoid",
}
"""Activations with a gradient of exactly 0 on a part of their input."""

SQUASHING = {"SigmoidBackward0": "sigmoid", "TanhBackward0": "tanh", "SoftmaxBackward0": "softmax"}

PASSING = (
    *("View", "Reshape", "Transpose", "Permute", "Unsqueeze", "Squeeze", "Clone", "Alias", "ToCopy", "Add", "Mul"),
    *("NativeBatchNorm", "CudnnBatchNorm", "NativeLayerNorm", "NativeGroupNorm", "Dropout", "MaxPool", "AvgPool"),
)
"""What may stand between a layer and its activation."""

FEWEST = 8
"""Units of a layer: of fewer, a share says little."""

SOFTMAX_PASSES = 0.05
"""Of a softmax over n: at most this much of the 1 / n that a flat one lets through, and SOFTMAX_LOST of its elements
lost. One that gives its choice 0.99 lets 0.01 through: five times the limit where n is 25."""

SOFTMAX_LOST = 0.9

LEAST_MEASURED = 4


def find(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    """Layers with dead units, as of the last window of sampled steps, and saturated activations."""
    yield from _dead(session, thresholds)
    yield from _saturated(session, thresholds)


@dataclass(frozen=True, slots=True)
class Layer:
    """A bias some of whose units had a gradient of 0 in each of `window` steps."""

    bias: int
    silent: int
    sampled: int
    window: int
    step: int

    @property
    def share(self) -> float:
        return self.silent / self.sampled


def _dead(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    layers = [layer for layer in _silent_biases(session) if layer.share >= thresholds.dead_units]
    if not layers:
        return
    paths = _last_graph(session, max(layer.step for layer in layers))
    for layer in layers if paths is not None else ():
        assert paths is not None  # noqa: S101 # the loop has nothing then
        activation = _activation_after(paths, layer.bias)
        if activation >= 0 and _gradient_arrives(session, paths, layer, activation):
            yield _dead_finding(session, paths, layer, activation)


def _silent_biases(session: Session) -> Iterator[Layer]:
    """Of each bias what the last window that it was in says."""
    last: dict[int, Layer] = {}
    for record in session.reader.records(GradientNoise):
        if record.silent is None or record.sampled is None:
            continue
        subjects = as_array(record.subjects, session.path).tolist()
        silent = as_array(record.silent, session.path, len(subjects)).tolist()
        sampled = as_array(record.sampled, session.path, len(subjects)).tolist()
        for subject, quiet, seen in zip(subjects, silent, sampled, strict=True):
            last[subject] = Layer(subject, quiet, seen, record.window, record.step)
    for view in session.parameters:
        layer = last.get(view.id)
        if layer is not None and len(view.shape) == 1 and "bias" in view.path and layer.sampled >= FEWEST:
            yield layer


def _last_graph(session: Session, step: int) -> Paths | None:
    numbers = (step, *(view.number for view in reversed(session.steps[-3:])))
    return next((paths for number in numbers if (paths := _graph_of(session, number)) is not None), None)


def _graph_of(session: Session, step: int) -> Paths | None:
    try:
        return Paths(session, session.graph(step).id)
    except (LookupError, GradwatchError):
        return None


def _activation_after(paths: Paths, parameter: int) -> int:
    """The node of the activation that a layer's result goes into; -1 where it is none with zeros."""
    leaf = paths.leaf_of(parameter)
    if leaf < 0:
        return -1
    for op in paths.above(leaf, lambda node: paths.names[node] == "TBackward0"):
        for node in paths.above(op, lambda node: paths.names[node].removeprefix("Unsafe").startswith(PASSING)):
            if paths.names[node] in ZEROING:
                return node
    return -1


def _gradient_arrives(session: Session, paths: Paths, layer: Layer, activation: int) -> bool:
    """Whether there is a gradient behind the activation: without one it is not the activation that ends it."""
    if layer.silent < layer.sampled:
        return True
    norms: dict[int, float] = {}
    for call in gradients_of(session, layer.step, "parameter"):
        norms.update(call.norms)
    for node in paths.above(activation):
        behind = [parameter for parameter in paths.leaves_of(node) if parameter != layer.bias]
        if behind:
            return any(norms.get(parameter, 0.0) > 0 for parameter in behind)
    return True


def _dead_finding(session: Session, paths: Paths, layer: Layer, activation: int) -> Finding:
    view = next(view for view in session.parameters if view.id == layer.bias)
    name = view.module or view.name
    op = next(iter(paths.above(paths.leaf_of(layer.bias))), activation)
    channels = "Convolution" in paths.names[op] or "BatchNorm" in paths.names[op]
    units = "channels" if channels else "units"
    whole = layer.silent == layer.sampled
    what = ZEROING[paths.names[activation]]
    count = view.numel if whole else layer.silent * view.numel // layer.sampled
    module = next((module.id for module in session.modules if module.name == view.module), -1)
    return Finding(
        kind="dead units",
        severity="warning",
        title=f"Dead {units} in {name}",
        sentence=(
            f"{'All' if whole else count} of the {view.numel} {units} of {name} had no gradient in any of "
            f"{layer.window} steps: the {what} after {name} gives 0 for every input."
        ),
        cause="dead channels" if channels else "dead layer" if whole else "dead units",
        fix=(
            f"Lower the learning rate, start {view.name} at 0, or use LeakyReLU or GELU after it"
            if what == "ReLU"
            else f"Keep the input of the {what} in its range, or use GELU after it"
        ),
        steps=[max(0, layer.step - layer.window + 1), layer.step],
        graph=paths.id,
        nodes=[activation],
        parameters=[layer.bias],
        modules=[module] if module >= 0 else [],
        site=paths.site(op),
        other_site=_on_another_line(session, paths.site(activation), paths.site(op)),
        evidence=[
            f"{view.name}.grad was 0 in {percent(layer.share)} of {layer.sampled} elements, the same ones in each step"
        ],
    )


def _on_another_line(session: Session, site: int, than: int) -> int:
    """A site, unless it lies on the line of the other one: -1 then."""
    label = session.sources_by_id.label
    return -1 if label(site) == label(than) else site


def _saturated(session: Session, thresholds: Thresholds) -> Iterator[Finding]:
    measured: defaultdict[int, defaultdict[int, list[tuple[int, Passage]]]] = defaultdict(lambda: defaultdict(list))
    known = set(steps_looked_at(session, 1 << 30))
    for record in session.reader.records(FanIns):
        if record.step in known:
            for passage in record.passages:
                measured[record.graph][passage.node].append((record.step, passage))
    for graph, nodes in measured.items():
        try:
            paths = Paths(session, graph)
        except (LookupError, GradwatchError):
            continue
        found = [
            (node, seen)
            for node, seen in nodes.items()
            if len(seen) >= LEAST_MEASURED and all(_is_lost(paths, each, thresholds) for _, each in seen)
        ]
        by_site: defaultdict[int, list[tuple[int, list[tuple[int, Passage]]]]] = defaultdict(list)
        for node, seen in found:
            if not paths.is_last(node):
                by_site[paths.site(node)].append((node, seen))
        for group in by_site.values():
            yield _saturated_finding(session, paths, group)


def _is_lost(paths: Paths, passage: Passage, thresholds: Thresholds) -> bool:
    if not passage.arrived > 0:
        return False
    if paths.names[passage.node] == "SoftmaxBackward0":
        little = passage.passed * passage.width <= SOFTMAX_PASSES * passage.arrived
        return little and passage.lost >= SOFTMAX_LOST
    return passage.lost >= thresholds.saturated


def _saturated_finding(session: Session, paths: Paths, group: list[tuple[int, list[tuple[int, Passage]]]]) -> Finding:
    nodes = [node for node, _ in group]
    seen = [each for _, passages in group for each in passages]
    steps = len({step for step, _ in seen})
    what = SQUASHING.get(paths.names[nodes[0]], paths.names[nodes[0]])
    modules = sorted({paths.modules[node] for node in nodes if paths.modules[node] >= 0})
    place = session.names.module_name(modules[0]) if modules else "the program"
    lost = float(np.median([passage.lost for _, passage in seen]))
    kept = float(np.median([passage.passed / passage.arrived for _, passage in seen if passage.arrived > 0]))
    more = f" (and in {len(nodes) - 1} more calls)" if len(nodes) > 1 else ""
    loses = f"{percent(lost)} of the elements lose their gradient" if what != "softmax" else "the gradient is lost"
    comes = f"{percent(kept)} of the gradient's norm" if what != "softmax" else f"{percent(kept)} of its norm"
    return Finding(
        kind="saturated",
        severity="warning",
        title=f"Saturated {what}",
        sentence=f"In the {what} of {place}{more} {loses}: {comes} comes through.",
        cause=what,
        fix=(
            "Scale the scores down before the softmax (by the square root of their width)"
            if what == "softmax"
            else f"Make what goes into the {what} smaller: xavier init, a norm before it, or scaled inputs"
        ),
        steps=[min(step for step, _ in seen), max(step for step, _ in seen)],
        graph=paths.id,
        nodes=nodes,
        modules=modules,
        site=paths.site(nodes[0]),
        evidence=[f"measured in {steps} steps; at the first {percent(seen[0][1].lost)} of the elements"],
    )

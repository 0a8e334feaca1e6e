"""Vanishing, exploding, dead, saturated, updates and fan-ins, from hand-made sessions and from five healthy models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import models
from gradwatch import open as open_session
from gradwatch.findings import chains, dead, fan_in, flow, updates
from gradwatch.findings.all import find
from gradwatch.findings.thresholds import Thresholds
from gradwatch.records import (
    Backward,
    FanIn,
    FanIns,
    GradientNoise,
    Module,
    ModuleOutput,
    ModuleOutputs,
    Modules,
    Parameters,
    Passage,
    Record,
    Site,
    Sites,
    Step,
)
from session_factory import (
    Node,
    backward,
    column,
    gradients,
    graph,
    optimizer_step,
    parameter,
    step,
    write_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Record as Recorded
    from gradwatch import Session
    from gradwatch.records import Finding

LIMITS = Thresholds()


def _step(number: int, loss: float = 1.0, **others: Any) -> Step:
    return step(number, loss, **others)


def _backward(number: int, graph_id: int = 0) -> Backward:
    return backward(number, graph=graph_id)


@pytest.fixture
def session_of(tmp_path: Path) -> Iterator[Any]:
    """Open a session of these records."""
    opened: list[Session] = []

    def make(records: Sequence[Record]) -> Session:
        opened.append(open_session(write_session(tmp_path / f"{len(opened)}.gradwatch", [records])))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


def _chain(norms: Sequence[float], steps: Sequence[Step], *, calls: bool = False) -> list[Record]:
    """Modules 0, 1, ... (or the calls of one) whose outputs' gradients have these norms in every step."""
    count = len(norms)
    modules = [
        Module(0, "net", "layers", "Stack"),
        *(Module(i + 1, "net", f"layers.{i}", "Block") for i in range(count)),
    ]
    outputs = [ModuleOutput(i, 1 if calls else i + 1, "", i if calls else 0) for i in range(count)]
    records: list[Record] = [Modules(modules), ModuleOutputs(outputs)]
    for each in steps:
        records += [
            _backward(each.number, -1),
            gradients(each.number, {i: [norm * (each.loss_scale or 1)] for i, norm in enumerate(norms)}, "module"),
            each,
        ]
    return records


def _steps(count: int = 5) -> list[Step]:
    return [_step(number) for number in range(count)]


def test_a_chain_says_how_much_each_module_changes_the_gradient(session_of: Any) -> None:
    (scale,) = chains.scales(session_of(_chain([1e-6, 1e-4, 1e-3, 1.0], _steps())), range(5))
    assert 10**scale.total == pytest.approx(1e-6)
    assert scale.links.tolist() == pytest.approx([-2, -1, -3])
    assert scale.steepest == 2
    assert scale.factor == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("norms", "kind"),
    [
        ([1e-6, 1e-4, 1e-2, 1.0], "vanishing"),
        ([1e6, 1e4, 1e2, 1.0], "exploding"),
        ([1e-3, 1e-2, 1e-1, 1.0], None),
        ([3.0, 2.0, 0.5, 1.0], None),
        ([0.9**i for i in range(120, 0, -1)], None),  # only long
        ([1e-6, 1.0], None),
    ],
)
def test_flow_is_told_of_from_its_limits_on(session_of: Any, norms: list[float], kind: str | None) -> None:
    found = list(flow.find(session_of(_chain(norms, _steps())), LIMITS))
    assert [finding.kind for finding in found] == ([kind] if kind else [])
    assert all(finding.severity == "warning" for finding in found)


def test_one_module_called_over_and_over_may_lose_more(session_of: Any) -> None:
    def found(norms: list[float]) -> list[str]:
        return [each.title for each in flow.find(session_of(_chain(norms, _steps(), calls=True)), LIMITS)]

    assert found([10.0 ** (i - 9) for i in range(10)]) == ["Gradient vanishes over time"]
    assert found([10.0 ** ((i - 9) / 2) for i in range(10)]) == []


def test_a_chain_that_vanishes_in_the_first_step_alone_is_not_told_of(session_of: Any) -> None:
    records = _chain([1e-9, 1e-6, 1e-3, 1.0], [_step(0)])
    records += _chain([0.5, 0.6, 0.8, 1.0], [_step(number) for number in range(1, 6)])[2:]
    assert list(flow.find(session_of(records), LIMITS)) == []


def test_the_loss_scale_and_skipped_steps_change_nothing(session_of: Any) -> None:
    steps = [_step(number, loss_scale=2.0**number, skipped=number == 3) for number in range(6)]
    session = session_of(_chain([1e-6, 1e-4, 1e-2, 1.0], steps))
    (finding,) = flow.find(session, LIMITS)
    assert "median of 5 steps" in finding.evidence[1]


def test_what_clipping_hides_is_a_note(session_of: Any) -> None:
    records = _chain([1e6, 1e4, 1e2, 1.0], _steps())
    records += [Parameters([parameter(0, "weight")])]
    for number in range(5):
        records += [gradients(number, {0: [100.0]}), optimizer_step(number, {0: (1.0, 1.0, 1e-3)})]
    (finding,) = flow.find(session_of(records), LIMITS)
    assert (finding.severity, finding.cause) == ("note", "clipped")
    assert "0.01" in finding.sentence


def test_growth_over_the_steps_is_told_of_only_where_the_loss_grows_too(session_of: Any) -> None:
    def found(*, loss_grows: bool) -> list[str]:
        records: list[Record] = [Parameters([parameter(0, "weight")])]
        for number in range(16):
            loss = 2.0**number if loss_grows else 1.0
            records += [_backward(number, -1), gradients(number, {0: [3.0**number]}), _step(number, loss=loss)]
        return [finding.cause for finding in flow.find(session_of(records), LIMITS)]

    assert found(loss_grows=True) == ["steps"]
    assert found(loss_grows=False) == []


def _layer_graph(activation: str) -> Record:
    """Bias -> addmm -> activation -> mean."""
    nodes = [
        Node("AccumulateGrad", parameter=0),
        Node("AddmmBackward0", module=0, site=0),
        Node(activation, site=1),
        Node("MeanBackward0"),
    ]
    return graph(0, nodes, [(3, 0, 2, 0), (2, 0, 1, 0), (1, 0, 0, 0)], [3])


def _silent(session_of: Any, silent: int, activation: str = "ReluBackward0", path: str = "0.bias") -> list[Finding]:
    bias = parameter(0, path, shape=[16], module=0)
    noise = GradientNoise(
        15, 16, *(column(d, [v]) for d, v in (("<u4", 0), ("<f4", 1), ("<f4", 1), ("<u4", 16), ("<u4", silent)))
    )
    sites = Sites([Site(0, "a.py", 3, "forward"), Site(1, "a.py", 4, "forward")])
    records = [Modules([Module(0, "net", "0", "Linear")]), sites, Parameters([bias]), _layer_graph(activation)]
    for number in range(16):
        records += [_backward(number), gradients(number, {0: [1.0] * 16}), _step(number)]
    return list(dead.find(session_of([*records, noise]), LIMITS))


def test_dead_units_name_layer_activation_and_lines(session_of: Any) -> None:
    (finding,) = _silent(session_of, 8)
    assert finding.sentence.startswith("8 of the 16 units of net.0 had no gradient in any of 16 steps")
    assert (finding.site, finding.other_site, finding.modules, finding.parameters) == (0, 1, [0], [0])


@pytest.mark.parametrize(
    ("silent", "activation", "path"),
    [(6, "ReluBackward0", "0.bias"), (16, "GeluBackward0", "0.bias"), (16, "ReluBackward0", "0.weight")],
)
def test_few_units_smooth_activations_and_weights_are_not_dead(
    session_of: Any, silent: int, activation: str, path: str
) -> None:
    assert _silent(session_of, silent, activation, path) == []


def _passages(session_of: Any, lost: Sequence[float], name: str = "TanhBackward0", width: int = 4) -> list[Finding]:
    nodes = [Node("AccumulateGrad", parameter=0), Node("AddmmBackward0", site=0), Node(name, site=1)]
    nodes = [*nodes[:1], Node("AccumulateGrad", parameter=1), *nodes[1:], Node("AddmmBackward0"), Node("MeanBackward0")]
    made = graph(0, nodes, [(5, 0, 4, 0), (4, 0, 1, 0), (4, 1, 3, 0), (3, 0, 2, 0), (2, 0, 0, 0)], [5])
    both = [parameter(0, "0.bias", shape=[4]), parameter(1, "1.bias", shape=[4])]
    records: list[Record] = [Sites([Site(0, "a.py", 3, "f"), Site(1, "a.py", 4, "f")]), Parameters(both), made]
    for number, share in enumerate(lost):
        passage = Passage(3, 1.0, 1e-3, share, width)
        records += [_backward(number), FanIns(number, 0, 0, [], [passage]), _step(number)]
    return list(dead.find(session_of(records), LIMITS))


def test_an_activation_is_saturated_where_every_measured_step_says_so(session_of: Any) -> None:
    (finding,) = _passages(session_of, [0.9, 0.8, 0.95, 0.9])
    assert (finding.kind, finding.cause, finding.site) == ("saturated", "tanh", 1)
    assert _passages(session_of, [0.9, 0.8, 0.5, 0.9]) == []
    assert _passages(session_of, [0.9, 0.9, 0.9]) == []


def test_a_softmax_is_judged_by_its_width(session_of: Any) -> None:
    assert [each.cause for each in _passages(session_of, [1.0] * 4, "SoftmaxBackward0", 4)] == ["softmax"]
    assert _passages(session_of, [1.0] * 4, "SoftmaxBackward0", 1000) == []


def _optimized(session_of: Any, ratio: float, norm: float = 1.0, decay: float = 1.0) -> list[str]:
    records: list[Record] = [Parameters([parameter(0, "weight", shape=[2, 2]), parameter(1, "bias", shape=[2])])]
    for number in range(24):
        rows = {0: (1.0, norm * decay**number, ratio), 1: (1.0, 0.0, float("nan"))}
        records += [optimizer_step(number, rows), _step(number)]
    return [finding.cause for finding in updates.find(session_of(records), LIMITS)]


def test_update_ratios_are_told_of_outside_their_limits_alone(session_of: Any) -> None:
    assert _optimized(session_of, 0.5) == ["too high"]
    assert _optimized(session_of, 1e-3) == []
    assert _optimized(session_of, 1e-6) == []
    assert _optimized(session_of, 1e-9) == ["too low"]
    assert _optimized(session_of, 0.0) == ["too low"]
    assert _optimized(session_of, 0.05, decay=0.95) == ["weight decay"]
    assert _optimized(session_of, 0.05, decay=0.99) == []


def _met(session_of: Any, cosine: float, norms: tuple[float, float], steps: int = 4) -> list[Finding]:
    """Trunk (2) gives to two terms (3 and 4), which a sum (5) adds up."""
    nodes = [
        Node("AccumulateGrad", parameter=0),
        Node("AddmmBackward0", site=0),
        Node("MseLossBackward0", site=1),
        Node("NllLossBackward0", site=2),
        Node("AddBackward0", site=3),
    ]
    made = graph(0, nodes, [(4, 0, 2, 0), (4, 1, 3, 0), (2, 0, 1, 0), (3, 0, 1, 0), (1, 0, 0, 0)], [4])
    sites = Sites([Site(i, "a.py", i + 1, "f") for i in range(4)])
    records: list[Record] = [sites, Parameters([parameter(0, "0.weight", shape=[4, 4])]), made]
    both = FanIn(1, 0, [2, 3], list(norms), [0.5, 0.5], [cosine])
    for number in range(steps):
        records += [_backward(number), FanIns(number, 0, 0, [both]), _step(number)]
    return list(fan_in.find(session_of(records), LIMITS))


def test_a_loss_is_drowned_below_the_limit(session_of: Any) -> None:
    (finding,) = _met(session_of, 0.0, (1e-4, 1.0))
    assert (finding.kind, finding.name, finding.site, finding.other_site) == ("drowned", "the MseLoss term", 3, 1)
    assert _met(session_of, 0.0, (1e-2, 1.0)) == []
    assert _met(session_of, 0.0, (1e-4, 1.0), steps=3) == []


@pytest.mark.parametrize(
    ("cosine", "norms", "severity"),
    [(-0.99, (1.0, 1.2), "warning"), (-0.99, (1.0, 9.0), "note"), (-0.6, (1.0, 1.0), "note"), (-0.4, (1.0, 1.0), None)],
)
def test_losses_conflict_by_their_cosine(
    session_of: Any, cosine: float, norms: tuple[float, float], severity: str | None
) -> None:
    found = _met(session_of, cosine, norms)
    assert [(each.kind, each.severity) for each in found] == ([("conflict", severity)] if severity else [])


def test_products_of_groups_are_those_of_their_sums() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 10))
    measured = fan_in.Measured(0, (1, 2, 3), [0], [vectors @ vectors.T]).grouped([[0, 2], [1]])
    summed = np.stack([vectors[0] + vectors[2], vectors[1]])
    assert measured.norms[0] == pytest.approx(np.linalg.norm(summed, axis=1))
    cosine = summed[0] @ summed[1] / np.prod(np.linalg.norm(summed, axis=1))
    assert measured.cosines(0, 1)[0] == pytest.approx(cosine)


@pytest.mark.parametrize("name", models.PROGRAMS)
def test_a_healthy_model_raises_no_alarm(record: Recorded, name: str) -> None:
    program = models.PROGRAMS[name]()
    session = record(lambda: [program.step() for _ in range(30)], program.model)
    found = find(session)
    mine = {"flow", "dead", "updates", "fan_in", "noise"}
    assert not mine & set(found.failed)
    kinds = {"vanishing", "exploding", "dead units", "saturated", "update ratio", "drowned", "conflict"}
    assert [each.sentence for each in found.findings if each.kind in kinds and each.severity != "note"] == []

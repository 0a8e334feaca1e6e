"""Two sessions side by side: where gradients part, what is the same, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import session_factory as make
from gradwatch import open as open_session
from gradwatch.errors import UsageError
from gradwatch.records import Parameters, Site, Sites, SourceFile
from gradwatch.session.compare import EXACT, Tolerance, compare
from gradwatch.session.compare_graphs import GraphPair
from gradwatch.session.compare_names import paired_names
from gradwatch.session.compare_tolerance import gaps_of_row, row_gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Record as AnyRecord

PLANTED_STEP = 2


class Tilt(torch.autograd.Function):
    """The same forward whatever the factor is; backward is multiplied by it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.factor, None


class Net(nn.Module):
    def __init__(self, *, deeper: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 6)
        self.last = nn.Linear(6, 2)
        self.extra = nn.Linear(2, 2) if deeper else None
        self.factor = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.second(x))
        x = self.last(Tilt.apply(x, self.factor))
        return x if self.extra is None else self.extra(x)


def train(net: Net, steps: int = 4, factor: float = 1.0, batch: int = 5) -> None:
    """Train; at PLANTED_STEP backward is tilted by `factor`."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        net.factor = factor if step == PLANTED_STEP else 1.0
        (net(torch.randn(batch, 4, generator=generator)) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def trained(record: Record) -> Callable[..., Session]:
    """Record `train` on a new Net from the same seed. `detail`, `deeper` and `root` aside, options are train's."""

    def trained(detail: str = "nodes", *, deeper: bool = False, root: str = "", **options: Any) -> Session:
        torch.manual_seed(0)
        net = Net(deeper=deeper)
        return record(lambda: train(net, **options), {root: net} if root else net, detail=detail)

    return trained


# Where they part


def test_a_difference_planted_in_backward_is_found_at_its_step_and_node(trained: Callable[..., Session]) -> None:
    found = compare(trained(), trained(factor=1.01))
    assert found.parts
    assert found.gradients is not None
    assert (found.gradients.step_a, found.gradients.step_b) == (PLANTED_STEP, PLANTED_STEP)
    first = found.gradients.first
    assert first.kind == "node"
    assert first.node is not None
    assert [giver.name for giver in first.node.givers_a] == ["TiltBackward"]
    assert first.node.givers_agree
    assert first.node.a.name == "TanhBackward0"
    norm = next(gap for gap in first.gaps if gap.statistic == "l2")
    assert norm.b / norm.a == pytest.approx(1.01, rel=1e-4)
    assert norm.relative == pytest.approx(0.01 / 1.01, rel=1e-3)


def test_what_lies_between_the_planted_node_and_the_loss_does_not_part(trained: Callable[..., Session]) -> None:
    gradients = compare(trained(), trained(factor=1.01)).gradients
    assert gradients is not None
    names = ["second.bias", "second.weight", "first.bias", "first.weight"]
    assert sorted(each.name_a for each in gradients.parameters) == sorted(names)
    assert {each.name_a.split(".")[0] for each in gradients.parameters[:2]} == {"second"}, "backward order"
    assert [each.name_a for each in gradients.modules] == ["second", "first"]
    assert [each.node.givers_agree for each in gradients.nodes if each.node] == [True] + [False] * (
        len(gradients.nodes) - 1
    )


def test_a_leaf_comes_right_after_the_last_node_that_gives_to_it(trained: Callable[..., Session]) -> None:
    session = trained()
    columns = session.graph(0).columns
    position = GraphPair(columns, columns, paired_names(session, session)).engine_order().tolist()
    nodes = list(session.graph(0).nodes)
    of = {node.parameter or f"{node.name} {node.module}": position[node.index] for node in nodes}
    assert position[nodes[-1].index] == 0
    assert of["last.bias"] == of["AddmmBackward0 last"] + 1
    assert sorted(position) == list(range(len(nodes)))


def test_the_loss_parts_one_step_after_the_gradients(trained: Callable[..., Session]) -> None:
    loss = compare(trained(), trained(factor=1.5)).loss
    assert loss is not None
    assert (loss.step_a, loss.step_b) == (PLANTED_STEP + 1, PLANTED_STEP + 1)
    assert loss.relative == abs(loss.a - loss.b) / max(loss.a, loss.b) > 0


def test_a_difference_within_the_tolerance_does_not_part(trained: Callable[..., Session]) -> None:
    a, b = trained(), trained(factor=1.01)
    loose = compare(a, b, tolerance=Tolerance(rtol=0.1))
    assert not loose.parts
    assert loose.gradients is None
    assert max(value or 0 for value in loose.curves.difference) > 1e-3, "the curve still shows it"


@pytest.mark.parametrize(("detail", "kind", "name"), [("modules", "module", "second"), ("parameters", "parameter", "")])
def test_the_finest_kind_that_both_recorded_says_where(
    trained: Callable[..., Session], detail: str, kind: str, name: str
) -> None:
    found = compare(trained(), trained(detail, factor=1.01))
    assert found.gradients is not None
    assert found.gradients.step_a == PLANTED_STEP
    assert found.gradients.first.kind == kind
    assert found.gradients.first.name_a.startswith(name or "second.")
    assert found.compared["node"] == 0
    assert any(note.startswith("No gradients of nodes were compared: 1.gradwatch has detail") for note in found.notes)


def test_a_gradient_that_one_side_alone_has_parts(trained: Callable[..., Session], record: Record) -> None:
    torch.manual_seed(0)
    net = Net()
    net.first.bias.requires_grad = False
    gradients = compare(trained("modules"), record(lambda: train(net), net, detail="modules")).gradients
    assert gradients is not None
    assert gradients.step_a == 0
    alone = [each for each in gradients.parameters if each.b is None]
    assert [(each.name_a, each.gaps, each.relative) for each in alone] == [("first.bias", [], math.inf)]


# What is the same


def test_the_same_run_twice_shows_no_difference_even_exactly(trained: Callable[..., Session]) -> None:
    found = compare(trained(), trained(), tolerance=EXACT)
    assert not found.parts
    assert (found.loss, found.gradients, found.graph) == (None, None, None)
    assert found.curves.difference == [0.0] * 4
    assert found.curves.norm_a == found.curves.norm_b
    assert min(found.compared.values()) > 0
    assert found.held is not None
    assert found.held.total_a == found.held.total_b > 0
    assert all(row.delta == 0 for row in [*found.held.by_line, *found.held.by_module])


def test_a_longer_run_is_compared_as_far_as_both_go(trained: Callable[..., Session]) -> None:
    found = compare(trained(), trained(steps=6))
    assert not found.parts
    assert found.steps == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert (found.only_steps_a, found.only_steps_b) == ([], [4, 5])


def test_what_the_model_is_called_does_not_matter(trained: Callable[..., Session]) -> None:
    found = compare(trained(), trained(root="student"), tolerance=EXACT)
    assert not found.parts
    assert found.compared["parameter"] == 4 * 6
    assert (found.names.module.only_a, found.names.module.only_b) == ([], [])
    assert found.held is not None
    rows = [(row.label_a, row.label_b, row.delta) for row in found.held.by_module]
    assert ("model", "student", 0) in rows
    assert all(delta == 0 for *_, delta in rows)


def test_two_steps_of_one_session_part_and_a_step_agrees_with_itself(trained: Callable[..., Session]) -> None:
    session = trained()
    found = compare(session, session, steps=(1, 3))
    assert found.gradients is not None
    assert (found.gradients.step_a, found.gradients.step_b) == (1, 3)
    assert found.steps == [(1, 3)]
    assert not compare(session, session, steps=(3, 3), tolerance=EXACT).parts


def test_nan_equals_nan_and_parts_from_a_number(record: Record) -> None:
    def session(values: Iterable[float]) -> Session:
        w = torch.ones(3, requires_grad=True)

        def program() -> None:
            for value in values:
                (w * torch.tensor([1.0, value, 2.0])).sum().backward()
                w.grad = None

        return record(program, detail="parameters")

    both = session([1.0, math.nan])
    assert not compare(both, session([1.0, math.nan]), tolerance=EXACT).parts
    found = compare(both, session([1.0, 1.0]))
    assert found.gradients is not None
    assert found.gradients.step_a == 1
    assert found.gradients.first.relative == math.inf
    assert {gap.statistic for gap in found.gradients.first.gaps if gap.parts} >= {"nan"}
    assert found.loss is not None
    assert math.isnan(found.loss.a)


# What is of another structure


def test_another_model_is_told_by_parameters_modules_and_nodes(trained: Callable[..., Session]) -> None:
    found = compare(trained(), trained(deeper=True))
    assert found.parts
    assert found.names.parameter.only_a == []
    assert found.names.parameter.only_b == ["extra.weight", "extra.bias"]
    assert found.names.module.only_b == ["extra"]
    assert found.graph is not None
    assert (found.graph.step_a, found.graph.only_a) == (0, [])
    assert {node.module for node in found.graph.only_b if not node.parameter} == {"extra"}
    assert found.graph.nodes_b - found.graph.nodes_a == len(found.graph.only_b)
    assert [(each.a.name, each.what) for each in found.graph.changed] == [("PowBackward0", ("inputs",))]


def test_nodes_of_unlike_graphs_are_paired_by_place_so_the_first_that_parts_has_other_givers(
    trained: Callable[..., Session],
) -> None:
    gradients = compare(trained(), trained(deeper=True)).gradients
    assert gradients is not None
    first = gradients.first
    assert first.node is not None
    assert (first.name_a, first.name_b) == ("AddmmBackward0", "AddmmBackward0")
    assert (first.node.a.module, first.node.b.module) == ("last", "last")
    assert [giver.name for giver in first.node.givers_a] == ["PowBackward0"]
    assert [giver.module for giver in first.node.givers_b] == ["extra"]
    assert not first.node.same_givers
    assert not first.node.givers_agree


def test_another_batch_size_holds_more_by_line_and_module(trained: Callable[..., Session]) -> None:
    held = compare(trained(), trained(batch=50)).held
    assert held is not None
    assert held.total_b > held.total_a > 0
    for rows in (held.by_line, held.by_module):
        assert sum(row.delta for row in rows) == held.total_b - held.total_a
        assert abs(rows[0].delta) == max(abs(row.delta) for row in rows) > 0
    assert any(row.text and "torch.tanh" in row.text for row in held.by_line)


def session_of(path: Path, flushes: Iterable[Iterable[AnyRecord]], **options: Any) -> Session:
    return open_session(make.write_session(path, flushes, **options))


def tied(name: str, alias: str) -> Parameters:
    return Parameters([make.parameter(0, name, (2,), aliases=[alias])])


def test_a_tied_weight_is_found_by_its_other_name(tmp_path: Path) -> None:
    steps = [[make.backward(0), make.gradients(0, {0: [1.0, 2.0]}), make.step(0, 1.0)]]
    a = session_of(tmp_path / "a.gradwatch", [[tied("embedding.weight", "head.weight")], *steps])
    b = session_of(tmp_path / "b.gradwatch", [[tied("head.weight", "embedding.weight")], *steps])
    with a, b:
        found = compare(a, b)
        assert (found.names.parameter.only_a, found.compared["parameter"]) == ([], 1)
        assert not found.parts


def test_models_of_several_roots_are_told_apart_by_root(tmp_path: Path) -> None:
    def parameters(*roots: str) -> Parameters:
        return Parameters([dataclasses.replace(make.parameter(i, "weight", (2,)), root=r) for i, r in enumerate(roots)])

    def steps(first: list[float], second: list[float]) -> list[AnyRecord]:
        return [make.backward(0), make.gradients(0, {0: first, 1: second}), make.step(0, 1.0)]

    a = session_of(tmp_path / "a.gradwatch", [[parameters("actor", "critic")], steps([1.0, 1.0], [5.0, 5.0])])
    b = session_of(tmp_path / "b.gradwatch", [[parameters("critic", "actor")], steps([5.0, 5.0], [1.0, 1.0])])
    with a, b:
        assert not compare(a, b, tolerance=EXACT).parts


def test_a_node_whose_line_was_edited_is_changed_and_not_another(tmp_path: Path) -> None:
    def session(name: str, text: str, *between: make.Node) -> Session:
        nodes = [make.Node("MulBackward0", site=0), *between, make.Node("SumBackward0")]
        edges = [(index + 1, 0, index, 0) for index in range(len(nodes) - 1)]
        tables: list[AnyRecord] = [
            Sites([Site(0, "/home/someone/project/train.py", 1, "main")]),
            SourceFile("/home/someone/project/train.py", "", text),
            make.graph(0, nodes, edges, [len(nodes) - 1]),
        ]
        gradients = make.gradients(0, {node: [1.0, 2.0] for node in range(len(nodes))}, "node")
        return session_of(tmp_path / name, [tables, [make.backward(0, graph=0), gradients, make.step(0, 1.0)]])

    a = session("a.gradwatch", "y = 2 * x")
    with a, session("b.gradwatch", "y = 3 * x", make.Node("ExpBackward0")) as b:
        found = compare(a, b)
        assert found.graph is not None
        assert [node.name for node in found.graph.only_b] == ["ExpBackward0"]
        assert [(each.a.name, each.a.text, each.b.text, each.what) for each in found.graph.changed] == [
            ("MulBackward0", "y = 2 * x", "y = 3 * x", ("line",)),
            ("SumBackward0", None, None, ("inputs",)),
        ]
        assert (found.parts, found.compared["node"]) == (False, 2)


# GradScalers


def scaled(path: Path, scales: list[float | None], skipped: set[int]) -> Session:
    names: list[AnyRecord] = [Parameters([make.parameter(0, "w", (2,))])]
    steps: list[list[AnyRecord]] = [
        [
            make.backward(number),
            make.gradients(number, {0: [1.0, 2.0]}),
            make.step(number, 1.0, loss_scale=scale, skipped=number in skipped),
        ]
        for number, scale in enumerate(scales)
    ]
    return session_of(path, [names, *steps])


def test_steps_that_one_alone_skipped_and_other_loss_scales_are_noted(tmp_path: Path) -> None:
    with (
        scaled(tmp_path / "a.gradwatch", [65536.0, 32768.0, 32768.0, None], {0, 2}) as a,
        scaled(tmp_path / "b.gradwatch", [65536.0, 65536.0, 65536.0, 65536.0], {0, 1}) as b,
    ):
        notes = compare(a, b).notes
        assert "Step 1 was skipped in the second alone, by its GradScaler; 1 more step differs so." in notes
        assert "Step 1: the loss scale is 32768 in the first, 65536 in the second; 2 more steps differ so." in notes
        assert not compare(a, b).parts, "gradients and losses are the same"
        assert (
            "Step 3 against 2: the loss scale is none in the first, 65536 in the second."
            in compare(a, b, steps=(3, 2)).notes
        )
        assert not [note for note in compare(b, b).notes if "scale" in note or "skipped" in note]


# Files that are not whole


def test_an_unfinished_file_is_compared_up_to_its_last_whole_step(tmp_path: Path) -> None:
    names: list[AnyRecord] = [Parameters([make.parameter(0, "w", (2,))])]
    first: list[AnyRecord] = [make.backward(0), make.gradients(0, {0: [1.0, 2.0]}), make.step(0, 1.0)]
    second: list[AnyRecord] = [make.backward(1), make.gradients(1, {0: [3.0, 4.0]}), make.step(1, 1.0)]
    a = session_of(tmp_path / "a.gradwatch", [names, first, second])
    b = session_of(tmp_path / "b.gradwatch", [names, first, second[:1]], finish=None)
    with a, b:
        found = compare(a, b)
        assert not found.parts
        assert (found.steps, found.only_steps_a) == ([(0, 0)], [1])
        assert "Step 1 of b.gradwatch was cut short and is left out." in found.notes


def test_a_step_that_was_cut_short_does_not_part_for_what_it_lacks(tmp_path: Path) -> None:
    names: list[AnyRecord] = [Parameters([make.parameter(0, "w", (2,)), make.parameter(1, "v", (2,))])]
    whole: list[AnyRecord] = [make.backward(0), make.gradients(0, {0: [1.0], 1: [2.0]}), make.step(0, 1.0)]
    a = session_of(tmp_path / "a.gradwatch", [names, whole])
    b = session_of(tmp_path / "b.gradwatch", [names, whole[:1]], finish=None)
    with a, b, pytest.raises(UsageError, match="share no gradient and no loss"):
        compare(a, b, steps=(0, 0))


def test_a_call_that_reached_no_parameter_parts_from_one_that_did(tmp_path: Path) -> None:
    names: list[AnyRecord] = [Parameters([make.parameter(0, "w", (2,))])]
    a = session_of(
        tmp_path / "a.gradwatch", [names, [make.backward(0), make.gradients(0, {0: [1.0]}), make.step(0, 1.0)]]
    )
    b = session_of(tmp_path / "b.gradwatch", [names, [make.backward(0), make.step(0, 1.0)]])
    with a, b:
        found = compare(a, b)
        assert found.gradients is not None
        assert (found.gradients.first.name_a, found.gradients.first.b) == ("w", None)


def test_sessions_without_a_step_in_common_are_refused_with_the_way_out(tmp_path: Path) -> None:
    a = session_of(tmp_path / "a.gradwatch", [[make.backward(0), make.step(0, 1.0)]])
    b = session_of(tmp_path / "b.gradwatch", [[make.backward(7), make.step(7, 1.0)]])
    with a, b, pytest.raises(UsageError, match=r"no whole step in common\. a.*step 0 only.*step 7 only.*\n.*N:M"):
        compare(a, b)


def test_a_step_that_is_not_there_is_refused(tmp_path: Path) -> None:
    a = session_of(tmp_path / "a.gradwatch", [[make.backward(0), make.step(0, 1.0)]])
    with a, pytest.raises(UsageError, match="There is no step 4"):
        compare(a, a, steps=(0, 4))


# The measure


def columns(values: list[float]) -> dict[str, Any]:
    return {
        name: np.frombuffer(column.data, column.dtype).astype(np.int64 if column.dtype == "<u8" else np.float64)
        for name, column in make.statistics([values]).items()
    }


@pytest.mark.parametrize(
    ("a", "b", "statistic"),
    [
        ([1.0, 2.0], [1.0, 2.1], "max"),
        ([1.0, 2.0], [1.0, 2.0, 0.0], "count"),
        ([1.0, 0.0], [1.0, 1e-3], "zeros"),
        ([1.0, math.inf], [1.0, 1.0], "inf"),
        ([1.0, -1.0], [1.0, -0.99], "mean"),
    ],
)
def test_each_statistic_can_part(a: list[float], b: list[float], statistic: str) -> None:
    left, right = columns(a), columns(b)
    assert row_gaps(left, right, Tolerance()).parts.tolist() == [True]
    rows = [{name: column[0].item() for name, column in each.items()} for each in (left, right)]
    assert statistic in [gap.statistic for gap in gaps_of_row(rows[0], rows[1], Tolerance()) if gap.parts]


def test_rounding_noise_in_a_sum_that_cancels_does_not_part() -> None:
    a, b = columns([1.0, -1.0]), columns([1.0 + 1e-6, -1.0])
    assert row_gaps(a, b, Tolerance()).parts.tolist() == [False]
    assert row_gaps(a, b, EXACT).parts.tolist() == [True]


def test_atol_is_what_one_element_may_be_off_by() -> None:
    a, b = columns([0.0] * 100), columns([1e-6] * 100)
    zeros_aside = b | {"zeros": a["zeros"]}
    assert row_gaps(a, zeros_aside, Tolerance(0.0, 2e-6)).parts.tolist() == [False]
    assert row_gaps(a, zeros_aside, Tolerance(0.0, 5e-7)).parts.tolist() == [True]


def test_values_that_changed_places_are_not_seen_and_the_report_must_say_so() -> None:
    a, b = columns([1.0, 2.0, 3.0]), columns([3.0, 1.0, 2.0])
    assert row_gaps(a, b, EXACT).parts.tolist() == [False]


# What is of different ranks


def test_ranks_of_one_run_are_compared_by_their_parameters_alone(trained: Callable[..., Session]) -> None:
    a, b = trained(), trained(factor=1.5)
    found = compare(a, b, ranks=True)
    assert (found.compared["node"], found.compared["module"], found.loss) == (0, 0, None)
    assert found.gradients is not None
    assert found.gradients.first.kind == "parameter"
    assert [note for note in found.notes if "Different ranks see different data" in note]

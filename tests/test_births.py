"""Births of NaN and Inf: the op is named, by what it was given then, and looking changes and keeps nothing."""

from __future__ import annotations

import gc
import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from exactness import check_exact, digest
from gradwatch.capture import births_backward
from gradwatch.capture.birth_ops import HookedKinds
from gradwatch.capture.graph import roots_of, walk
from gradwatch.capture.node_hooks import NodeHooks
from gradwatch.capture.statistics import StatisticRows
from gradwatch.findings.causes import cause_of
from gradwatch.records import Activations, Birth, Operand
from models import PROGRAMS
from test_regime_cuda import no_waiting
from zoo.programs import ZOO, Animal, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

DETAILS: tuple[Detail, ...] = ("modules", "nodes")
POINTS = torch.eye(5)[:, :4]


class Roots(nn.Module):
    """Takes the root of squares; the last of POINTS gives 0. `bad_from`: the step from which on it does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(self.first(x) ** 2)


def train(steps: int = 4, bad_at: int = 0, seen: Callable[[nn.Module], None] | None = None) -> list[Tensor]:
    torch.manual_seed(0)
    model = Roots()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses: list[Tensor] = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(POINTS if step >= bad_at else POINTS + 1).sum()
        loss.backward()
        losses.append(loss.detach())
        if seen is not None:
            seen(model)
        if step == bad_at:
            model.zero_grad()
        optimizer.step()
    return [*losses, *model.parameters()]


def births(session: Session) -> list[Birth]:
    assert [notice.traceback for notice in session.notices if notice.kind == "probe stopped"] == []
    return list(session.reader.records(Birth))


@pytest.mark.parametrize("detail", DETAILS)
def test_a_birth_in_backward_names_its_node_operands_and_parameters(record: Record, detail: Detail) -> None:
    session = record(train, detail=detail)
    first = births(session)[0]
    assert (first.step, first.backward, first.phase, first.op, first.exact) == (0, 0, "backward", "Sqrt", True)
    node = session.graph(0).nodes[first.node]
    assert node.name == "SqrtBackward0"
    made = {operand.role: operand for operand in first.operands}
    assert made["result"].zeros == 4
    assert (made["grad output"].nan, made["grad output"].inf) == (0, 0)
    assert (made["grad input"].inf, first.inf, first.nan) == (4, 4, 0)
    assert [session.parameters[number].name for number in first.parameters] == ["first.weight"]


@pytest.mark.parametrize("bad_at", [0, 1, 2])
def test_a_birth_has_the_number_of_its_step(record: Record, bad_at: int) -> None:
    assert births(record(lambda: train(bad_at=bad_at)))[0].step == bad_at


def test_a_birth_is_found_in_a_step_without_details(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradwatch.session.writer import SessionWriter

    monkeypatch.setattr(SessionWriter, "detail_interval", property(lambda _: 1000), raising=False)
    first = births(record(lambda: train(bad_at=2)))[0]
    assert (first.step, first.op, first.exact, first.node) == (2, "Sqrt", True, -1)
    assert first.module >= 0


@pytest.mark.parametrize("name", sorted(path.stem for path in (ZOO / "bugs").glob("nan_*.py")))
def test_programs_with_births_compute_the_same_bits(record: Record, name: str) -> None:
    def program() -> list[object]:
        states: list[object] = []

        def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
            states.append(digest([group["params"] for group in optimizer.param_groups]))

        handle = register_optimizer_step_post_hook(note)
        torch.manual_seed(0)
        try:
            load(Animal(ZOO / "bugs" / f"{name}.py")).train()
        finally:
            handle.remove()
        return [*states, digest(torch.get_rng_state())]

    recorded: list[list[object]] = []
    alone = program()
    births(record(lambda: recorded.append(program())))
    assert recorded == [alone]


@pytest.mark.parametrize("detail", DETAILS)
def test_losses_and_gradients_keep_their_bits(record: Record, detail: Detail) -> None:
    check_exact(record, train, detail)


def test_nothing_of_a_graph_outlives_its_backward(record: Record) -> None:
    alive: list[int] = []

    def program() -> None:
        weight = torch.randn(4, 4, requires_grad=True)
        for _ in range(3):
            hidden = (POINTS @ weight) ** 2
            roots = torch.sqrt(hidden)
            kept = [weakref.ref(hidden.untyped_storage()), weakref.ref(roots.untyped_storage())]
            roots.sum().backward()
            del hidden, roots
            alive.append(sum(each() is not None for each in kept))

    gc.disable()
    try:
        record(program)
    finally:
        gc.enable()
    assert alive == [0, 0, 0]


def test_what_a_node_saved_is_let_go_when_it_was(record: Record) -> None:
    """The storages alive when backward comes to the first op: as many as without a recorder."""

    def program(counts: list[int]) -> None:
        weight = torch.randn(4, 4, requires_grad=True)
        hidden = POINTS @ weight
        stages = [weakref.ref(hidden.untyped_storage())]
        node: Any = hidden.grad_fn
        for _ in range(4):
            hidden = torch.sqrt(hidden**2 + 1)
            stages.append(weakref.ref(hidden.untyped_storage()))
        node.register_prehook(lambda _: counts.append(sum(each() is not None for each in stages)))
        loss = hidden.sum()
        del hidden, node
        loss.backward()

    alone: list[int] = []
    program(alone)
    recorded: list[int] = []
    record(lambda: program(recorded))
    assert len(alone) == 1
    assert recorded == alone


def test_a_bad_forward_writes_its_module_outputs_in_call_order(record: Record) -> None:
    def program() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
        for step in range(3):
            batch = torch.randn(2, 4)
            batch[0, 0] = math.nan if step == 1 else 0.0
            model(batch).mean().backward()

    session = record(program)
    (bad,) = [each for each in session.reader.records(Activations) if each.step == 1]
    nan = np.frombuffer(bad.columns["nan"].data, bad.columns["nan"].dtype)
    assert nan.tolist() == [4, 4, 1, 1]
    names = [
        session.names.subject_name("module", number) for number in np.frombuffer(bad.subjects.data, "<u4").tolist()
    ]
    assert names[:3] == ["0", "1", "2"]
    (first,) = [each for each in births(session) if each.step == 1]
    assert (first.source, first.phase) == ("input", "forward")


def test_what_healed_is_no_finding(record: Record) -> None:
    def program() -> None:
        weight = torch.randn(4, 4, requires_grad=True)
        torch.relu(torch.sqrt(torch.relu(POINTS @ weight - 100))).sum().backward()

    session = record(program)
    assert births(session) != []  # the root of 0 was born, and relu dropped it
    assert [finding for finding in session.findings if finding.kind in ("nan", "inf")] == []


def test_consequences_fold_into_their_origin(record: Record) -> None:
    def program() -> None:
        load(Animal(ZOO / "bugs" / "nan_norm_at_zero.py")).train()

    session = record(program)
    found = [finding for finding in session.findings if finding.kind in ("nan", "inf")]
    assert len(births(session)) > 1
    assert [finding.cause for finding in found] == ["norm at 0"]
    assert found[0].steps == [0, 2]


def test_a_micro_batch_is_named_by_its_call(record: Record) -> None:
    def program() -> None:
        torch.manual_seed(0)
        model = Roots()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            model(POINTS + 1).sum().backward()
            model(POINTS).sum().backward()
            optimizer.step()

    first = births(record(program))[0]
    assert (first.step, first.backward) == (0, 1)


def test_a_gradient_that_is_handed_out_is_watched_too(record: Record) -> None:
    def program() -> None:
        x = torch.zeros(3, requires_grad=True)
        torch.autograd.grad(torch.sqrt(x).sum(), x)

    assert [each.op for each in births(record(program))] == ["Sqrt"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_most_nodes_of_a_healthy_step_are_not_hooked(name: str) -> None:
    program = PROGRAMS[name]()
    kinds = HookedKinds()
    nodes = walk(roots_of([program.loss()])).nodes
    always = [node for node in nodes if kinds.of(node) == 1]
    assert len(always) < len(nodes) / 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_healthy_programs_have_no_births(record: Record, name: str) -> None:
    program = PROGRAMS[name]()

    def run() -> None:
        for _ in range(3):
            program.step()

    session = record(run, program.model)
    assert births(session) == []
    assert [each.step for each in session.reader.records(Activations)] == [0, 1, 2]


def operand(role: str, dtype: str = "float32", **counts: Any) -> Operand:
    facts = counts.pop("facts", {})
    least, most = counts.pop("least", 0.0), counts.pop("most", 1.0)
    given = {"count": 4, "zeros": 0, "nan": 0, "inf": 0, **counts}
    return Operand(role, [4], dtype, **given, min=least, max=most, facts=facts)


def birth(op: str, *operands: Operand, phase: Any = "backward", nan: int = 1, **options: Any) -> Birth:
    inf = options.pop("inf", 0)
    return Birth(0, 0, phase, nan, inf, 0, 0, op, -1, -1, -1, exact=True, operands=list(operands), **options)


MASKED = operand("grad input", nan=1, facts={"given 0": 1.0, "selected": 1.0})
CAUSES = [
    (birth("Sqrt", MASKED), "masked where"),
    (birth("Sqrt", operand("grad input", inf=1, facts={"given 0": 0.0})), "sqrt at 0"),
    (birth("Sqrt", operand("grad input", inf=1, facts={"of squares": 1.0})), "norm at 0"),
    (birth("Norm", operand("self", zeros=4)), "norm at 0"),
    (birth("Pow", operand("self", zeros=1), operand("grad input", facts={"exponent": 0.5})), "pow at 0"),
    (birth("Log", operand("self", zeros=1), phase="forward"), "log of 0"),
    (birth("Log", operand("self", facts={"negative": 1.0}), phase="forward"), "log of a negative"),
    (birth("Mul", operand("self", inf=1), operand("other", zeros=4)), "0 * inf"),
    (birth("Div", operand("other", zeros=1), phase="forward"), "division by zero"),
    (birth("Div", operand("other", zeros=1, facts={"of spread": 1.0})), "division by a tiny deviation"),
    (birth("NativeLayerNorm", operand("input")), "division by a tiny deviation"),
    (birth("Softmax", operand("result", nan=4), phase="forward"), "fully masked softmax row"),
    (birth("Exp", operand("result", inf=1), phase="forward", nan=0, inf=1), "exp overflow"),
    (
        birth("Mm", operand("self", "float16", most=60000.0), phase="forward", nan=0, inf=1),
        "overflow in half precision",
    ),
    (birth("Addmm", source="input"), "in the input"),
    (birth("seed", source="seed"), "in the seed gradient"),
    (birth("T", source="parameter"), "in a parameter"),
    (birth("Acos", operand("self", facts={"ones": 1.0})), "acos at 1"),
    (birth("Atan2"), "atan2 at 0"),
    (birth("MyScale", operand("grad input", nan=1, facts={"custom": 1.0})), "custom Function"),
    (birth("Something"), "unknown"),
]


@pytest.mark.parametrize(("born", "expected"), CAUSES, ids=[f"{each.op} {name}" for each, name in CAUSES])
def test_operands_tell_the_cause_and_its_fix(born: Birth, expected: str) -> None:
    cause = cause_of(born)
    assert cause.name == expected
    assert cause.fix
    assert cause.because


def test_a_level_is_read_from_one_row() -> None:
    rows = StatisticRows()
    tensors = [torch.ones(3), torch.tensor([1.0, math.inf]), torch.tensor([math.nan, math.inf]), torch.zeros(0)]
    assert [rows.level(rows.add(tensor)) for tensor in tensors] == [0, 1, 2, 0]


def test_hooks_hold_no_node(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """Between backward calls nothing of the watch is left on a graph that the program retains."""
    left: list[int] = []
    hooks: list[Any] = []
    shared: list[NodeHooks] = []
    watch = births_backward.NodeWatch.watch

    def noted(self: Any, watched: Any, *, closely: bool) -> None:
        watch(self, watched, closely=closely)
        hooks.extend(each for each in watched.call.node_hooks if isinstance(each, RemovableHandle))
        shared.extend(each for each in watched.call.node_hooks if isinstance(each, NodeHooks))

    def program() -> None:
        x = torch.ones(3, requires_grad=True)
        loss = torch.sqrt(x).sum()
        loss.backward(retain_graph=True)
        left.append(sum(each.id in (each.hooks_dict_ref() or {}) for each in hooks))
        left.append(sum(len(each) for each in shared))
        loss.backward()

    monkeypatch.setattr(births_backward.NodeWatch, "watch", noted)
    record(program)
    assert hooks
    assert shared
    assert left == [0, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_births_on_a_device_are_found_without_waiting_for_it(record: Record) -> None:
    def program() -> None:
        torch.manual_seed(0)
        model = Roots().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        points = POINTS.cuda()
        for step in range(6):
            if step == 5:
                torch.cuda.synchronize()
            context: Any = no_waiting() if step == 5 else torch.enable_grad()
            with context:
                optimizer.zero_grad()
                model(points if step == 5 else points + 1).sum().backward()
                optimizer.step()

    first = births(record(program))[0]
    assert (first.step, first.op, first.phase) == (5, "Sqrt", "backward")


def test_where_a_nan_becomes_finite_again_is_told(record: Record) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            ratio = torch.log(self.first(x) * 0 - 1)
            kept = torch.nan_to_num(ratio)
            return (kept.exp() + ratio.exp()).sum()

    model = Masked()
    session = record(lambda: model(POINTS).backward(), model)
    (birth,) = [each for each in session.reader.records(Birth) if each.phase == "forward"]
    names = [session.graph(birth.graph).nodes[node].name for node in birth.healed]
    assert (birth.op, names) == ("Log", ["NanToNumBackward0"])
    (finding,) = [each for each in session.findings if each.kind == "nan"]
    assert any(line.startswith("finite again after NanToNum") for line in finding.evidence)

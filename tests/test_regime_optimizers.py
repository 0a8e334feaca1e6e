"""Optimizers, clipping and loss scaling: what a step reads of gradients, before and after they were changed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.distributed.optim.apply_optimizer_in_backward import (
    _apply_optimizer_in_backward,  # pyright: ignore[reportPrivateUsage] # torch has no public name for it
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import gradwatch
from exactness import check_exact, digest
from gradwatch.records import Gradients, OptimizerStep, Totals
from living_storages import alive_after, without_numbers
from regimes import promise

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

    Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

DETAILS: tuple[Detail, ...] = ("parameters", "modules", "nodes")


@dataclass
class Seen:
    """What a step must say, found by hand: norms by parameter, of gradients as accumulated and as used."""

    loss: float
    accumulated: dict[str, float]
    used: dict[str, float] = field(default_factory=dict[str, float])
    ratios: dict[str, float] = field(default_factory=dict[str, float])
    scale: float | None = None
    skipped: bool = False


class Training:
    """A small model on noise, that notes each of its steps."""

    def __init__(self, make: Make, seen: list[Seen], device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.device = device
        self.model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(device)
        self.optimizer = make(self.model.parameters())
        self.seen = seen
        self.root = self.loss
        seen.clear()

    def loss(self) -> Tensor:
        """The loss of a batch of its own."""
        return self.model(torch.randn(5, 6, device=self.device)).square().mean()

    def backward(self, loss: Tensor, scaled: Tensor | None = None) -> None:
        """Run backward, from the scaled loss where there is one, and note loss and gradients."""
        (loss if scaled is None else scaled).backward()
        self.seen.append(Seen(loss.item(), self.norms()))
        if scaled is not None:
            self.seen[-1].scale = (scaled / loss).item()

    def norms(self, scale: float = 1.0) -> dict[str, float]:
        """Norm of every gradient that is there, over finite elements, divided by `scale`."""
        there = {name: each.grad for name, each in self.model.named_parameters() if each.grad is not None}
        return {name: norm_of(gradient) / scale for name, gradient in there.items()}

    @contextmanager
    def stepping(self, scale: float = 1.0) -> Generator[None]:
        """Note around an optimizer step which gradients it uses and how far it moves each parameter."""
        seen = self.seen[-1]
        seen.used = self.norms(scale)
        before = {name: each.detach().clone() for name, each in self.model.named_parameters()}
        yield
        for name, each in self.model.named_parameters():
            if name in seen.used:
                seen.ratios[name] = norm_of(each.detach() - before[name]) / norm_of(before[name])

    def results(self) -> list[object]:
        """Everything that must be the same bits."""
        return [list(self.model.parameters()), [dict(state) for state in self.optimizer.state.values()]]


def norm_of(tensor: Tensor) -> float:
    dense = tensor.to_dense().double()
    return dense[dense.isfinite()].norm().item()


def used_at(session: Session, step: int) -> dict[str, tuple[float, float]]:
    """Gradient norm and update ratio that the session has of each parameter of a step's optimizers."""
    found: dict[str, tuple[float, float]] = {}
    for record in session.reader.records_of_step(OptimizerStep, step):
        used = by_name(session, record, "gradient_norm")
        assert not found.keys() & used, "two optimizers with one parameter"
        ratios = by_name(session, record, "update_ratio")
        found.update({name: (norm, ratios[name]) for name, norm in used.items()})
    return found


def accumulated_at(session: Session, step: int) -> dict[str, float]:
    """Norms of the gradients after the step's last call that reached them."""
    found: dict[str, float] = {}
    for record in session.reader.records_of_step(Gradients, step):
        if record.subject_kind == "parameter":
            found.update(by_name(session, record, "l2"))
    return found


def by_name(session: Session, record: Gradients | OptimizerStep, name: str) -> dict[str, float]:
    paths = {view.id: view.path for view in session.parameters}
    subjects = np.frombuffer(record.subjects.data, record.subjects.dtype)
    values = np.frombuffer(record.columns[name].data, record.columns[name].dtype)
    return {paths[int(subject)]: float(value) for subject, value in zip(subjects, values, strict=True)}


def check_steps(session: Session, seen: list[Seen]) -> None:
    """Every step of the session says what was found by hand."""
    assert [step.number for step in session.steps] == list(range(len(seen)))
    for step, expected in zip(session.steps, seen, strict=True):
        assert step.loss == pytest.approx(expected.loss, rel=1e-6)
        assert step.loss_scale == expected.scale
        assert step.skipped == expected.skipped
        accumulated = accumulated_at(session, step.number)
        assert {name: accumulated[name] for name in expected.accumulated} == pytest.approx(
            expected.accumulated, rel=1e-5, nan_ok=True
        )
        used = used_at(session, step.number)
        assert {name: norm for name, (norm, _) in used.items()} == pytest.approx(expected.used, rel=1e-5)
        assert {name: ratio for name, (_, ratio) in used.items()} == pytest.approx(expected.ratios, rel=1e-4)


def check_held(session: Session, training: Training) -> None:
    """What the first call of the last step found held is what its forward keeps alive."""
    if session.run.detail == "parameters":
        return
    step = session.steps[-1]
    assert without_numbers(session.held(step.number, 0)) == alive_after(training.root)


def sgd(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def adam(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def fused_adam(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01, fused=True)


def recorded(
    record: Record, make: Make, train: Callable[[Training], object], detail: Detail, **options: Any
) -> tuple[Session, Training]:
    """Run `train` on a new Training alone and recorded, and check all that every regime must hold."""
    seen: list[Seen] = []
    last: list[Training] = []

    def program() -> object:
        last[:] = [Training(make, seen)]
        train(last[0])
        return last[0].results()

    session = check_exact(record, program, detail, **options)
    check_steps(session, seen)
    check_held(session, last[0])
    return session, last[0]


def plainly(training: Training) -> None:
    for _ in range(3):
        training.optimizer.zero_grad()
        training.backward(training.loss())
        with training.stepping():
            training.optimizer.step()


# Optimizers

IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "one by one": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
OTHERS = ("Adadelta", "Adafactor", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop")


@promise("Optimizers", "SGD, Adam, AdamW, Adagrad: one by one, foreach, fused")
@pytest.mark.parametrize("detail", ["parameters", "nodes"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_an_optimizer_moves_parameters_as_it_does_alone(
    record: Record, name: str, implementation: str, detail: Detail
) -> None:
    kind: Any = getattr(torch.optim, name)
    recorded(record, lambda all_: kind(all_, lr=0.01, **IMPLEMENTATIONS[implementation]), plainly, detail)


@promise("Optimizers", "the other optimizers of torch.optim")
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_optimizer_moves_parameters_as_it_does_alone(record: Record, name: str) -> None:
    kind: Any = getattr(torch.optim, name)
    recorded(record, lambda all_: kind(all_, lr=0.01), plainly, "modules")


@promise("Optimizers", "Muon")
@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_beside_another_optimizer_shares_its_steps(record: Record) -> None:
    others: list[torch.optim.Optimizer] = []

    def make(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        each = list(parameters)
        others[:] = [torch.optim.AdamW([p for p in each if p.dim() != 2], lr=0.01)]
        muon: Any = torch.optim.Muon
        return muon([p for p in each if p.dim() == 2], lr=0.01)

    def train(training: Training) -> None:
        for _ in range(3):
            training.model.zero_grad()
            training.backward(training.loss())
            with training.stepping():
                training.optimizer.step()
                others[0].step()

    recorded(record, make, train, "modules")


# Clipping


def clip_norm(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def clip_value(model: nn.Module) -> None:
    nn.utils.clip_grad_value_(model.parameters(), 0.002)


def clip_data(model: nn.Module) -> None:
    """The old way, which no version counter sees."""
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.data.clamp_(-0.002, 0.002)


@promise("Optimizers", "clipped gradients: before and after")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("clip", [clip_norm, clip_value, clip_data])
def test_a_clipped_gradient_is_seen_before_and_after(
    record: Record, clip: Callable[[nn.Module], None], detail: Detail
) -> None:
    def train(training: Training) -> None:
        for _ in range(3):
            training.optimizer.zero_grad()
            training.backward(training.loss())
            clip(training.model)
            with training.stepping():
                training.optimizer.step()

    session, _ = recorded(record, adam, train, detail)
    accumulated = accumulated_at(session, 2)
    assert all(used < accumulated[name] for name, (used, _) in used_at(session, 2).items())


# Loss scaling


def scaled_training(scaler: Callable[[], Any], *, clip: bool = False) -> Callable[[Training], None]:
    """Train under `scaler()`; gradients of step 1 overflow."""

    def train(training: Training) -> None:
        scales = scaler()
        for step in range(5):
            training.optimizer.zero_grad()
            loss = training.loss() * torch.inf if step == 1 else training.loss()
            training.backward(loss, scales.scale(loss))
            training.seen[-1].scale = scales.get_scale()
            training.seen[-1].skipped = step == 1
            if clip:
                scales.unscale_(training.optimizer)
                clip_norm(training.model)
            step_scaled(training, scales, unscaled=clip)
            scales.update()
        training.root = lambda: scaler().scale(training.loss())

    return train


def step_scaled(training: Training, scaler: Any, *, unscaled: bool) -> None:
    seen = training.seen[-1]
    with training.stepping(1.0 if unscaled else scaler.get_scale()):
        scaler.step(training.optimizer)
    is_called = not seen.skipped or getattr(training.optimizer, "_step_supports_amp_scaling", False)
    if not is_called:
        seen.used, seen.ratios = {}, {}


def cpu_scaler() -> Any:
    return torch.amp.GradScaler("cpu", init_scale=1000.0, growth_interval=1)


@promise("Optimizers", "GradScaler: scaled and unscaled norms, the loss without its scale, skipped steps")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("make", [adam, fused_adam])
def test_a_scaled_loss_is_read_without_its_scale_and_skipped_steps_are_marked(
    record: Record, make: Make, *, clip: bool, detail: Detail
) -> None:
    session, training = recorded(record, make, scaled_training(cpu_scaler, clip=clip), detail)
    assert [step.loss_scale for step in session.steps] == [1000.0, 2000.0, 1000.0, 2000.0, 4000.0]
    assert [step.skipped for step in session.steps] == [False, True, False, False, False]
    fused = make is fused_adam
    assert [step.record.optimizer_count for step in session.steps if step.record] == [1, int(fused), 1, 1, 1]
    totals = [number for record in session.reader.records(Totals) for number in record.skipped]
    assert totals == [1]
    assert len(training.seen) == 5


def test_a_loss_that_overflows_when_scaled_is_read_as_it_is(record: Record) -> None:
    def train(training: Training) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        for _ in range(2):
            training.optimizer.zero_grad()
            loss = training.loss() + 4.0
            training.backward(loss, scaler.scale(loss))
            training.seen[-1].scale = scaler.get_scale()
            assert scaler.scale(loss).isinf()
            step_scaled(training, scaler, unscaled=False)
            scaler.update()
        training.root = lambda: torch.amp.GradScaler("cpu").scale(training.loss() + 4.0)

    recorded(record, sgd, train, "modules")


def test_a_scaled_loss_that_is_divided_or_added_up_afterwards_is_read_without_its_scale(record: Record) -> None:
    def train(training: Training) -> None:
        scaler = cpu_scaler()
        for _ in range(3):
            training.optimizer.zero_grad()
            first, second = training.loss(), training.loss()
            both = scaler.scale([first, second])
            training.backward((first + second) / 2, (both[0] + both[1]) / 2)
            training.seen[-1].scale = scaler.get_scale()
            step_scaled(training, scaler, unscaled=False)
            scaler.update()

    def root(training: Training) -> None:
        train(training)
        training.root = training.loss  # of two forwards: see check_held's callers

    seen: list[Seen] = []
    session = check_exact(record, lambda: root(Training(adam, seen)), "modules")
    check_steps(session, seen)


def test_micro_batches_under_a_scaler_are_one_step(record: Record) -> None:
    def train(training: Training) -> None:
        scaler = cpu_scaler()
        for step in range(4):
            training.optimizer.zero_grad()
            for _ in range(3):
                loss = training.loss() * (torch.nan if step == 0 else 1.0) / 3
                training.backward(loss, scaler.scale(loss))
            last = training.seen[-1]
            del training.seen[-3:-1]
            last.scale, last.skipped = scaler.get_scale(), step == 0
            step_scaled(training, scaler, unscaled=False)
            scaler.update()

    seen: list[Seen] = []
    session = check_exact(record, lambda: train(Training(adam, seen)), "modules")
    assert seen[0].skipped
    assert [step.backward_count for step in session.steps] == [3, 3, 3, 3]
    assert np.isnan(session.steps[0].loss or 0)
    seen[0].loss = 0.0
    check_steps_after(session, seen, 1)


def check_steps_after(session: Session, seen: list[Seen], first: int) -> None:
    for step, expected in zip(session.steps[first:], seen[first:], strict=True):
        assert (step.loss, step.loss_scale) == (pytest.approx(expected.loss, rel=1e-6), expected.scale)


@promise("Optimizers", "several optimizers under one GradScaler, of which one skips")
@pytest.mark.parametrize("detail", ["parameters", "nodes"])
def test_a_scaler_that_skips_one_of_two_optimizers_marks_the_step(record: Record, detail: Detail) -> None:
    def program() -> object:
        torch.manual_seed(0)
        layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
        optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]
        scaler = cpu_scaler()
        for step in range(4):
            for optimizer in optimizers:
                optimizer.zero_grad()
            losses = [layer(torch.randn(3, 4)).sum() for layer in layers]
            for loss, factor in zip(losses, (1.0, torch.inf if step == 2 else 1.0), strict=True):
                scaler.scale(loss * factor).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        return [list(layer.parameters()) for layer in layers]

    session = check_exact(record, program, detail)
    assert [step.skipped for step in session.steps] == [False, False, True, False]
    assert [step.record.optimizer_count for step in session.steps if step.record] == [2, 2, 1, 2]
    assert [step.backward_count for step in session.steps] == [2, 2, 2, 2]
    stepped = [record.optimizer for record in session.reader.records_of_step(OptimizerStep, 2)]
    assert len(stepped) == 1


@promise("Optimizers", "a disabled GradScaler")
def test_a_disabled_scaler_leaves_nothing_to_say(record: Record) -> None:
    def train(training: Training) -> None:
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        for _ in range(3):
            training.optimizer.zero_grad()
            training.backward(loss := training.loss(), scaler.scale(loss))
            training.seen[-1].scale = None
            with training.stepping():
                scaler.step(training.optimizer)
            scaler.update()

    recorded(record, adam, train, "modules")


class OwnScaler(torch.amp.GradScaler):
    """With methods of its own, one of which runs the original."""

    def scale(self, outputs: Any) -> Any:
        original: Any = super().scale
        return original(outputs)

    def step(self, optimizer: torch.optim.Optimizer, *arguments: Any, **options: Any) -> float | None:
        return super().step(optimizer, *arguments, **options)


def made_later() -> Any:
    class Later(OwnScaler):
        def scale(self, outputs: Any) -> Any:
            return super().scale(outputs)

    return Later("cpu", init_scale=1000.0, growth_interval=1)


def sharded() -> Any:
    return ShardedGradScaler("cpu", init_scale=1000.0, growth_interval=1)


@pytest.fixture
def single_process() -> Iterator[None]:
    distributed: Any = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@promise("Optimizers", "ShardedGradScaler and subclasses of GradScaler")
@pytest.mark.usefixtures("single_process")
@pytest.mark.parametrize("scaler", [sharded, made_later])
def test_a_subclass_of_the_scaler_is_seen_like_it(record: Record, scaler: Callable[[], Any]) -> None:
    recorded(record, adam, scaled_training(scaler), "modules")
    assert vars(OwnScaler)["scale"].__code__.co_filename == __file__


def test_errors_of_a_scaler_are_its_own_and_no_step(record: Record) -> None:
    def program() -> object:
        training = Training(adam, [])
        scaler = cpu_scaler()
        scaler.scale(training.loss()).backward()
        scaler.step(training.optimizer)
        with pytest.raises(RuntimeError, match="already been called"):
            scaler.step(training.optimizer)
        return training.results()

    session = check_exact(record, program, "modules")
    assert [step.skipped for step in session.steps] == [False]


# Closures


@promise("Optimizers", "closures: LBFGS, and any other optimizer with one")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("name", ["LBFGS", "Adam"])
def test_every_evaluation_of_a_closure_belongs_to_its_step(record: Record, name: str, detail: Detail) -> None:
    kind: Any = getattr(torch.optim, name)
    calls: list[int] = []

    def train(training: Training) -> None:
        calls.clear()
        batch = torch.randn(5, 6)
        for _ in range(3):
            losses: list[float] = []

            def closure() -> Tensor:
                training.optimizer.zero_grad()
                loss = training.model(batch).square().mean()
                loss.backward()
                losses.append(loss.item())  # noqa: B023 # called within this pass
                return loss

            before = {each: value.detach().clone() for each, value in training.model.named_parameters()}
            step: Any = training.optimizer.step
            step(closure)
            norms = training.norms()
            moved = {
                each: norm_of(value.detach() - before[each]) / norm_of(before[each])
                for each, value in training.model.named_parameters()
            }
            training.seen.append(Seen(losses[-1], norms, norms, moved))
            calls.append(len(losses))
        training.root = lambda: training.model(batch).square().mean()

    seen: list[Seen] = []
    trained: list[Training] = []

    def program() -> object:
        trained[:] = [Training(lambda parameters: kind(parameters, lr=0.1), seen)]
        train(trained[0])
        return list(trained[0].model.parameters())

    session = check_exact(record, program, detail)
    check_steps(session, seen)
    assert [step.backward_count for step in session.steps] == calls
    assert max(calls) > 1 or name == "Adam"


# Where the gradient goes


@promise("Optimizers", "SparseAdam on sparse gradients")
@pytest.mark.parametrize("detail", DETAILS)
def test_sparse_gradients_are_read_as_the_dense_ones_they_stand_for(record: Record, detail: Detail) -> None:
    norms: list[float] = []

    def forward(embedding: nn.Embedding) -> Tensor:
        return embedding(torch.tensor([1, 4, 4, 7])).square().sum()

    def program() -> object:
        torch.manual_seed(0)
        norms.clear()
        embedding = nn.Embedding(10, 3, sparse=True)
        optimizer = torch.optim.SparseAdam(embedding.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            forward(embedding).backward()
            gradient: Any = embedding.weight.grad
            norms.append(norm_of(gradient))
            optimizer.step()
        return embedding.weight.detach(), [dict(state) for state in optimizer.state.values()]

    session = check_exact(record, program, detail)
    assert [accumulated_at(session, step) for step in range(3)] == [{"weight": pytest.approx(norm)} for norm in norms]
    used = [used_at(session, step)["weight"] for step in range(3)]
    assert [norm for norm, _ in used] == pytest.approx(norms)
    assert all(0 < ratio < 1 for _, ratio in used)


@promise("Optimizers", "zero_grad with set_to_none, and without")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("to_none", [True, False])
def test_zeroed_and_dropped_gradients_read_alike(record: Record, *, to_none: bool, detail: Detail) -> None:
    def train(training: Training) -> None:
        for _ in range(3):
            training.optimizer.zero_grad(set_to_none=to_none)
            training.backward(training.loss())
            with training.stepping():
                training.optimizer.step()

    recorded(record, adam, train, detail)


def test_gradients_dropped_before_the_step_were_not_used(record: Record) -> None:
    def train(training: Training) -> None:
        for _ in range(3):
            training.backward(training.loss())
            training.optimizer.zero_grad()
            training.optimizer.step()

    recorded(record, sgd, train, "modules")


def test_gradients_zeroed_within_the_accumulation_are_those_of_the_last_part(record: Record) -> None:
    def train(training: Training) -> None:
        for _ in range(3):
            training.loss().backward()
            training.optimizer.zero_grad(set_to_none=False)
            training.backward(training.loss())
            with training.stepping():
                training.optimizer.step()

    session, _ = recorded(record, sgd, train, "modules")
    assert [step.backward_count for step in session.steps] == [2, 2, 2]


@promise("Optimizers", "gradient accumulation: every micro-batch, and their sum")
@pytest.mark.parametrize("detail", DETAILS)
def test_micro_batches_add_up_to_the_gradient_that_is_used(record: Record, detail: Detail) -> None:
    parts: list[list[float]] = []

    def train(training: Training) -> None:
        parts.clear()
        for _ in range(3):
            training.optimizer.zero_grad()
            for _ in range(4):
                training.backward(training.loss() / 4)
            parts.append([seen.accumulated["0.weight"] for seen in training.seen[-4:]])
            del training.seen[-4:-1]
            with training.stepping():
                training.optimizer.step()
        training.root = lambda: training.loss() / 4

    seen: list[Seen] = []
    session = check_exact(record, lambda: train(Training(adam, seen)), detail)
    check_steps(session, seen)
    series = session.gradient("0.weight", micro_batches=True)
    assert series.norm.tolist() == pytest.approx([norm for step in parts for norm in step], rel=1e-5)


@promise("Optimizers", "an optimizer inside backward, which frees each gradient")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("way", ["hook", "torch.distributed.optim"])
def test_gradients_that_an_optimizer_frees_inside_backward_are_seen(record: Record, way: str, detail: Detail) -> None:
    noted: list[dict[str, float]] = []

    def step_in_hook(model: nn.Module) -> None:
        for parameter in model.parameters():
            optimizer = torch.optim.SGD([parameter], lr=0.1)

            def hook(parameter: Tensor, optimizer: torch.optim.Optimizer = optimizer) -> None:
                optimizer.step()
                optimizer.zero_grad()

            parameter.register_post_accumulate_grad_hook(hook)

    def program() -> object:
        torch.manual_seed(0)
        noted.clear()
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        names = {id(parameter): name for name, parameter in model.named_parameters()}

        def note(parameter: Tensor) -> None:
            assert parameter.grad is not None
            noted[-1][names[id(parameter)]] = norm_of(parameter.grad)

        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(note)
        if way == "hook":
            step_in_hook(model)
        else:
            apply: Any = _apply_optimizer_in_backward
            apply(torch.optim.SGD, model.parameters(), {"lr": 0.1})
        for _ in range(4):
            noted.append({})
            model(torch.randn(5, 6)).square().mean().backward()
        assert all(parameter.grad is None for parameter in model.parameters())
        return list(model.parameters())

    session = check_exact(record, program, detail)
    assert [step.number for step in session.steps] == [0, 1, 2, 3]
    for step, norms in enumerate(noted):
        assert accumulated_at(session, step) == pytest.approx(norms, rel=1e-5)
        used = {name: norm for name, (norm, _) in used_at(session, step).items()}
        assert used == pytest.approx(norms, rel=1e-5)


# Which parameters


@promise("Optimizers", "several parameter groups, frozen parameters, a group added later")
@pytest.mark.parametrize("detail", DETAILS)
def test_a_group_that_is_added_later_is_seen_from_then_on(record: Record, detail: Detail) -> None:
    def make(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        first, second, *_ = list(parameters)
        return torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.2}], lr=0.1, momentum=0.9)

    def train(training: Training) -> None:
        head: Any = training.model[2]
        head.requires_grad_(False)  # noqa: FBT003 # torch's own signature
        for step in range(4):
            if step == 2:
                head.requires_grad_(True)  # noqa: FBT003 # torch's own signature
                training.optimizer.add_param_group({"params": list(head.parameters())})
            training.optimizer.zero_grad()
            training.backward(training.loss())
            with training.stepping():
                training.optimizer.step()

    session, _ = recorded(record, make, train, detail)
    assert set(used_at(session, 1)) == {"0.weight", "0.bias"}
    assert set(used_at(session, 2)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@promise("Optimizers", "learning rate schedules, weight averages (SWA, EMA)")
@pytest.mark.parametrize("detail", DETAILS)
def test_schedules_and_averages_of_weights_change_nothing_that_is_seen(record: Record, detail: Detail) -> None:
    def train(training: Training) -> None:
        averages = [
            AveragedModel(training.model),
            AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
        ]
        schedule = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, 0.1, total_steps=10)
        for _ in range(3):
            training.optimizer.zero_grad()
            training.backward(training.loss())
            with training.stepping():
                training.optimizer.step()
            schedule.step()
            for average in averages:
                average.update_parameters(training.model)
        ends.append(digest([list(average.parameters()) for average in averages]))

    ends: list[object] = []
    recorded(record, adam, train, detail)
    assert ends[0] == ends[1]


KINDS: dict[str, Callable[[], Tensor]] = {
    "float64": lambda: torch.randn(5, 4, dtype=torch.float64),
    "bfloat16": lambda: torch.randn(5, 4).bfloat16(),
    "complex64": lambda: torch.randn(5, 4, dtype=torch.complex64),
    "complex128": lambda: torch.randn(5, 4, dtype=torch.complex128),
    "float64, transposed": lambda: torch.randn(5, 4, dtype=torch.float64).t(),
    "float16, transposed": lambda: torch.randn(5, 4).half().t(),
    "channels last": lambda: torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "with holes": lambda: torch.randn(5, 4)[:, ::2],
    "a scalar": lambda: torch.randn(()),
    "empty": lambda: torch.randn(0, 3),
    "zeros": lambda: torch.zeros(3),
}


@promise("Optimizers", "parameters of every type and layout")
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_every_kind_have_their_norms_and_updates(record: Record, kind: str) -> None:
    found: list[tuple[float, float]] = []

    def program() -> object:
        torch.manual_seed(0)
        parameter = nn.Parameter(KINDS[kind]())
        optimizer = torch.optim.SGD([parameter], lr=0.125)
        (parameter * parameter.detach().sin()).abs().sum().backward()
        before = parameter.detach().clone()
        assert parameter.grad is not None
        norm = wide_norm(parameter.grad)
        optimizer.step()
        change = wide_norm(parameter.detach() - before)
        found[:] = [(norm, change / wide_norm(before) if wide_norm(before) else np.nan)]
        return parameter

    session = check_exact(record, program, "nodes")
    assert used_at_any_root(session, 0) == [pytest.approx(found[0], rel=1e-4, nan_ok=True)]
    assert len(session.notices) == 0


def wide_norm(tensor: Tensor) -> float:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).norm().item()


# What is no optimizer of torch's


class OwnOptimizer:
    """Steps by hand, and is no torch.optim.Optimizer."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)

    @torch.no_grad()
    def step(self) -> None:
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


@promise(
    "Optimizers",
    "an optimizer that is no torch.optim.Optimizer",
    note="each outermost backward call is a step (or `recorder.step()` ends them); no update ratios",
)
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("another", [False, True])
def test_without_an_optimizer_of_torchs_every_backward_is_a_step(
    record: Record, *, another: bool, detail: Detail
) -> None:
    """`another` is an optimizer of torch's that holds the same parameters and never steps."""
    seen: list[Seen] = []
    last: list[Training] = []

    def program() -> object:
        training = Training(adam, seen)
        last[:] = [training]
        own = OwnOptimizer(training.model.parameters())
        if not another:
            del training.optimizer
        for _ in range(4):
            own.zero_grad()
            training.backward(training.loss())
            own.step()
        return list(training.model.parameters())

    session = check_exact(record, program, detail)
    check_steps(session, seen)
    check_held(session, last[0])


@promise("Optimizers", "gradient penalty")
@pytest.mark.parametrize("detail", DETAILS)
def test_a_gradient_penalty_is_part_of_the_step_that_uses_it(record: Record, detail: Detail) -> None:
    def train(training: Training) -> None:
        for _ in range(3):
            training.optimizer.zero_grad()
            batch = torch.randn(5, 6, requires_grad=True)
            loss = training.model(batch).square().mean()
            (gradient,) = torch.autograd.grad(loss, batch, create_graph=True)
            training.backward(loss + gradient.square().sum())
            with training.stepping():
                training.optimizer.step()

    seen: list[Seen] = []
    session = check_exact(record, lambda: train(Training(adam, seen)), detail)
    check_steps(session, seen)
    assert [[call.call for call in step.backwards] for step in session.steps] == [["grad", "backward"]] * 3


@promise("Optimizers", "optimizers that take turns (GAN)")
@pytest.mark.parametrize("detail", DETAILS)
def test_optimizers_that_take_turns_share_a_step(record: Record, detail: Detail) -> None:
    norms: list[dict[str, float]] = []

    def program() -> object:
        torch.manual_seed(0)
        norms.clear()
        gan = nn.ModuleDict({"maker": nn.Linear(3, 4), "judge": nn.Linear(4, 1)})
        optimizers = {name: torch.optim.Adam(part.parameters(), lr=0.01) for name, part in gan.items()}
        for _ in range(3):
            norms.append({})
            for name, sign in (("judge", 1.0), ("maker", -1.0)):
                gan.zero_grad()
                fake = gan["maker"](torch.randn(5, 3))
                fake = fake.detach() if name == "judge" else fake
                (sign * gan["judge"](fake).sigmoid().mean()).backward()
                for path, each in gan[name].named_parameters():
                    assert each.grad is not None
                    norms[-1][f"{name}.{path}"] = norm_of(each.grad)
                optimizers[name].step()
        return list(gan.parameters())

    session = check_exact(record, program, detail)
    assert [step.backward_count for step in session.steps] == [2, 2, 2]
    for step, expected in enumerate(norms):
        assert sorted(norm for norm, _ in used_at_any_root(session, step)) == pytest.approx(sorted(expected.values()))


def used_at_any_root(session: Session, step: int) -> list[tuple[float, float]]:
    records = session.reader.records_of_step(OptimizerStep, step)
    columns = [
        [np.frombuffer(record.columns[name].data, "<f4").tolist() for name in ("gradient_norm", "update_ratio")]
        for record in records
    ]
    return [pair for norms, ratios in columns for pair in zip(norms, ratios, strict=True)]


# Differentiable and compiled


@promise(
    "Optimizers",
    "differentiable optimizers",
    gradients="partly",
    note="parameters that are made of others are no leaves: their gradients and updates are not listed",
)
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_step_that_is_differentiated_through_is_in_the_graph(record: Record, name: str, detail: Detail) -> None:
    kind: Any = getattr(torch.optim, name)

    def program() -> object:
        torch.manual_seed(0)
        start = torch.randn(4, requires_grad=True)
        inner = start.clone()
        optimizer = kind([inner], lr=0.1, differentiable=True)
        for _ in range(2):
            inner.grad = torch.autograd.grad(start.sin().sum(), start, create_graph=True)[0]
            optimizer.step()
            inner.grad = None
        inner.sum().backward()
        assert start.grad is not None
        noted[:] = [norm_of(start.grad)]
        return start

    noted: list[float] = []
    session = check_exact(record, program, detail)
    assert len(session.parameters) == 1
    assert list(accumulated_at(session, 2).values()) == pytest.approx(noted)


@promise(
    "Optimizers",
    "torch.compile around optimizer.step()",
    note="steps are counted; the gradients used and the update ratios are not seen, for compiled steps run no hooks",
)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_compiled_step_ends_steps_all_the_same(record: Record, *, scaled: bool) -> None:
    seen: list[Seen] = []

    def program() -> object:
        torch.compiler.reset()
        training = Training(sgd, seen)
        scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=4.0)
        step: Any = torch.compile(training.optimizer.step, backend="eager")
        if scaled:
            training.optimizer.step = step
        for _ in range(4):
            training.optimizer.zero_grad()
            training.backward(loss := training.loss(), scaler.scale(loss))
            training.seen[-1].scale = 4.0 if scaled else None
            if scaled:
                scaler.step(training.optimizer)
                scaler.update()
            else:
                step()
        return list(training.model.parameters())

    session = check_exact(record, program, "modules")
    check_steps(session, seen)
    assert all(step.optimizer_count == scaled for step in session.steps)


# Recordings that begin and end in the middle


def test_a_scale_that_changes_before_backward_is_the_one_that_was_used(record: Record) -> None:
    def program() -> object:
        training = Training(sgd, [])
        scaler = cpu_scaler()
        loss = training.loss()
        scaled = scaler.scale(loss)
        scaler.update(new_scale=8.0)
        with torch.no_grad():
            loss.zero_()
        scaled.backward()
        return training.results()

    session = check_exact(record, program, "modules")
    assert session.steps[0].loss_scale == 1000.0
    assert session.steps[0].loss is not None
    assert session.steps[0].loss > 0


def test_a_recording_of_some_steps_under_a_scaler_has_those(tmp_path: Path) -> None:
    training, scaler = Training(adam, []), cpu_scaler()

    def step(factor: float = 1.0) -> None:
        training.optimizer.zero_grad()
        scaler.scale(training.loss() * factor).backward()
        scaler.step(training.optimizer)
        scaler.update()

    step()
    loss = training.loss()
    begun = scaler.scale(loss)
    recorder = gradwatch.watch(path=tmp_path / "some.gradwatch")
    begun.backward()
    scaler.step(training.optimizer)
    scaler.update()
    step(torch.inf)
    step()
    recorder.stop()
    step()
    with gradwatch.open(tmp_path / "some.gradwatch") as session:
        assert [step.loss_scale for step in session.steps] == [2000.0, 4000.0, 2000.0]
        assert [step.skipped for step in session.steps] == [False, True, False]
        assert session.steps[0].loss == pytest.approx(loss.item(), rel=1e-6)


def test_who_wraps_the_scaler_during_a_recording_keeps_its_wrapper(tmp_path: Path) -> None:
    scaler_type: Any = torch.amp.GradScaler
    original = scaler_type.scale
    recorder = gradwatch.watch(path=tmp_path / "wrapped.gradwatch")
    ours = scaler_type.scale
    called: list[object] = []

    def wrapper(scaler: Any, outputs: Any) -> Any:
        called.append(outputs)
        return ours(scaler, outputs)

    scaler_type.scale = wrapper
    try:
        recorder.stop()
        assert scaler_type.scale is wrapper
        assert cpu_scaler().scale(torch.ones(())).item() == 1000.0
        assert len(called) == 1
    finally:
        scaler_type.scale = original


def test_a_compiled_step_function_may_use_a_scaler(record: Record) -> None:
    def program() -> object:
        torch.compiler.reset()
        training = Training(sgd, [])
        scaler = cpu_scaler()
        forward: Any = torch.compile(lambda: scaler.scale(training.loss()), backend="eager")
        for _ in range(2):
            training.optimizer.zero_grad()
            forward().backward()
            scaler.step(training.optimizer)
            scaler.update()
        return training.results()

    session = check_exact(record, program, "modules")
    assert len(session.steps) == 2


def test_a_callable_captured_into_cuda_graphs_is_named_as_one(record: Record) -> None:
    """By the name of its node, which stands here for the real one: that needs a device."""

    class Graphed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: Tensor) -> Tensor:
            return tensor * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0] * 2

    def program() -> object:
        apply: Any = Graphed.apply
        leaf = torch.ones(2, requires_grad=True)
        apply(leaf).sum().backward()
        return leaf

    session = check_exact(record, program, "modules")
    (label,) = session.steps[0].backwards[0].graph.labels.values()
    assert (label.label, label.text[:35]) == ("hidden", "a callable captured into CUDA graph")

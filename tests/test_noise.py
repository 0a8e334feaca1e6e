"""Signal and noise of gradients, against numpy, and what sampling them leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from exactness import check_exact
from gradwatch.capture.gradient_noise import ELEMENTS, LEAST, WINDOW, is_in_burst, starts_burst
from gradwatch.findings.noise import find
from gradwatch.findings.thresholds import Thresholds
from gradwatch.records import GradientNoise

if TYPE_CHECKING:
    from conftest import Record
    from gradwatch import Session


def _values(column: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(column.data, column.dtype)


def _noise(session: Session) -> list[GradientNoise]:
    assert not [notice for notice in session.notices if notice.kind == "probe stopped"]
    return list(session.reader.records(GradientNoise))


def _train(model: nn.Module, steps: int, seen: list[dict[str, Any]] | None = None, batch: int = 8) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(batch, 6)).square().mean().backward()
        if seen is not None:
            named = model.named_parameters()
            seen.append({name: leaf.grad.clone().double().numpy() for name, leaf in named if leaf.grad is not None})
        optimizer.step()


def test_signal_and_noise_are_those_of_numpy(record: Record) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    seen: list[dict[str, Any]] = []
    session = record(lambda: _train(model, WINDOW, seen), model)
    (noise,) = _noise(session)
    assert (noise.step, noise.window) == (WINDOW - 1, WINDOW)
    for at, subject in enumerate(_values(noise.subjects).tolist()):
        name = session.names.parameter_name(subject) or ""
        steps = np.stack([each[name] for each in seen])
        variance = steps.var(0, ddof=1)
        assert _values(noise.noise)[at] == pytest.approx(variance.sum(), rel=1e-5)
        signal = (steps.mean(0) ** 2 - variance / WINDOW).sum()
        assert _values(noise.signal)[at] == pytest.approx(signal, rel=1e-4, abs=1e-7 * float((steps**2).sum()))
        assert noise.sampled is not None
        assert _values(noise.sampled)[at] == steps[0].size


def test_a_large_parameter_is_estimated_from_a_spread_of_its_elements(record: Record) -> None:
    model = nn.Linear(6, 400)
    seen: list[dict[str, Any]] = []
    session = record(lambda: _train(model, WINDOW, seen), model)
    (noise,) = _noise(session)
    at = _values(noise.subjects).tolist().index(session.parameters["weight"].id)
    steps = np.stack([each["weight"].reshape(-1) for each in seen])
    stride = -(-2400 // ELEMENTS)
    chosen = steps[:, ::stride]
    assert noise.sampled is not None
    assert _values(noise.sampled)[at] == chosen.shape[1] <= ELEMENTS
    assert _values(noise.noise)[at] == pytest.approx(chosen.var(0, ddof=1).sum() * 2400 / chosen.shape[1], rel=1e-5)


def test_an_element_that_is_0_in_every_step_is_silent_and_one_that_is_so_in_all_but_one_is_not(record: Record) -> None:
    weight = nn.Parameter(torch.ones(4))

    def program() -> None:
        optimizer = torch.optim.SGD([weight], lr=0.1)
        for step in range(WINDOW):
            optimizer.zero_grad()
            (weight * torch.tensor([0.0, 1.0, 0.0, float(step == 5)])).sum().backward()
            optimizer.step()

    (noise,) = _noise(record(program))
    assert noise.silent is not None
    assert _values(noise.silent).tolist() == [2]


def test_a_step_that_is_not_finite_is_left_out(record: Record) -> None:
    weight = nn.Parameter(torch.ones(3))

    def program() -> None:
        optimizer = torch.optim.SGD([weight], lr=0.0)
        for step in range(WINDOW):
            optimizer.zero_grad()
            (weight * (float("inf") if step == 3 else 2.0)).sum().backward()
            optimizer.step()

    (noise,) = _noise(record(program))
    assert noise.window == WINDOW - 1
    assert _values(noise.signal).tolist() == pytest.approx([12.0])
    assert _values(noise.noise).tolist() == [0.0]


def test_a_cut_off_window_is_written_once_it_is_long_enough(record: Record) -> None:
    model = nn.Linear(6, 2)
    assert _noise(record(lambda: _train(model, LEAST - 1), model)) == []
    assert [each.window for each in _noise(record(lambda: _train(model, LEAST), model))] == [LEAST]


def test_bursts_are_as_many_as_the_run_has_powers_of_two() -> None:
    sampled = [step for step in range(1 << 16) if is_in_burst(step)]
    assert sampled[:40] == [*range(32), *range(32, 40)]
    assert len(sampled) == 13 * WINDOW
    assert all(starts_burst(step) for step in sampled[::WINDOW])


def test_sparse_gradients_and_those_that_come_and_go_stop_nothing(record: Record) -> None:
    embedding, first, second = nn.Embedding(20, 3, sparse=True), nn.Linear(3, 2), nn.Linear(3, 2)

    def program() -> None:
        optimizer = torch.optim.SGD([*embedding.parameters(), *first.parameters(), *second.parameters()], lr=0.1)
        for step in range(3 * WINDOW):
            optimizer.zero_grad(set_to_none=True)
            chosen = first if step % 2 else second
            chosen(embedding(torch.arange(4))).square().mean().backward()
            optimizer.step()

    session = record(program)
    for noise in _noise(session):
        names = {session.names.parameter_name(subject) for subject in _values(noise.subjects).tolist()}
        assert not any("embedding" in (name or "") for name in names)


def test_training_keeps_its_bits(record: Record) -> None:
    def program() -> object:
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(5, 2))
        _train(model, WINDOW + 3)
        return list(model.parameters())

    check_exact(record, program, "modules")


def test_noise_is_told_where_targets_are_random_and_not_where_batches_agree(record: Record) -> None:
    def train(*, random: bool) -> None:
        torch.manual_seed(0)
        model = nn.Linear(256, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        fixed = torch.randn(16, 256)
        for _ in range(2 * WINDOW):
            optimizer.zero_grad()
            batch = torch.randn(1, 256) if random else fixed
            model(batch).mul(torch.randn(1) if random else 1.0).sum().backward()
            optimizer.step()

    (noisy,) = find(record(lambda: train(random=True)), Thresholds())
    assert (noisy.kind, noisy.severity) == ("noise", "note")
    assert not list(find(record(lambda: train(random=False)), Thresholds()))

"""Trains a small model alone and recorded, and holds what the session says against what was really there.

Gradients: their norms and names, noted by hand after each backward. Graphs: those that were alive. Held bytes: the
storages that the forward of one step keeps alive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from exactness import calls_of, check_exact
from living_storages import alive_after, without_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

Note = dict[str, float]
DETAILS = pytest.mark.parametrize("detail", ["parameters", "modules", "nodes"])


@dataclass
class Program:
    """A model of its own for each run, and what trains it. `change` is called before each step, with its number."""

    make: Callable[[], nn.Module]
    forward: Callable[[Any], Tensor]
    change: Callable[[Any, int], object] = lambda _model, _step: None
    steps: int = 3
    held: bool = True
    notes: list[Note] = field(default_factory=list["Note"])

    def train(self, model: nn.Module) -> object:
        """Train by hand, and note the norm of each gradient after each backward."""
        self.notes.clear()
        losses: list[Tensor] = []
        for step in range(self.steps):
            self.change(model, step)
            model.zero_grad()
            loss = self.forward(model)
            loss.backward()
            losses.append(loss.detach())
            self.notes.append(norms(model))
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(0.1 * parameter.grad.to_dense())
        return losses, dict(model.named_parameters()), dict(model.named_buffers())


def norms(model: nn.Module) -> Note:
    """The norm of each gradient that is there, by the parameter's first name."""
    return {name: _norm(p.grad) for name, p in model.named_parameters() if p.grad is not None}


def holds(record: Record, program: Program, detail: Detail, *, watched: bool = True) -> Session:
    """Assert that the recorded run is the run alone, and that what is recorded is what was there."""
    models = [_made(program.make) for _ in range(2)]
    waiting = iter(models)
    session = check_exact(record, lambda: program.train(next(waiting)), detail, model=models[1] if watched else None)
    check_norms(session, program.notes)
    if program.held and detail != "parameters":
        check_held(session, program, len(session.steps) - 1)
    return session


def check_norms(session: Session, notes: list[Note]) -> None:
    """Assert that each backward call has the gradients that were noted after it, under their names, and no others."""
    calls = [call for call in calls_of(session) if call.call == "backward" and call.parent < 0]
    assert len(calls) == len(notes)
    for call, expected in zip(calls, notes, strict=True):
        found = recorded_norms(session, call.step, call.index)
        assert set(found) == set(expected)
        for name, norm in expected.items():
            assert math.isclose(found[name], norm, rel_tol=1e-5, abs_tol=1e-30), name


def recorded_norms(session: Session, step: int, call: int) -> Note:
    """Norms of a call's parameter gradients by name: of the names of a parameter, the first."""
    rows = session.gradients_at(step, micro_batches=True).of_backward(call)
    paths = {parameter.id: parameter.path for parameter in session.parameters}
    return {paths[subject]: norm for subject, norm in zip(rows.subjects.tolist(), rows.norm.tolist(), strict=True)}


def check_held(session: Session, program: Program, step: int) -> None:
    """Assert that a step held what a forward of the trained model keeps alive: of what it made itself."""
    model = _made(program.make)
    for earlier in range(step + 1):
        program.change(model, earlier)
    if step:
        program.forward(model)  # what only a first call makes
    held = session.held(step)
    assert without_numbers(held) == alive_after(lambda: program.forward(model))


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return make()


def _norm(gradient: Tensor) -> float:
    plain = gradient.detach().to_dense() if gradient.layout is not torch.strided else gradient.detach()
    wide = plain.to(torch.complex128 if plain.is_complex() else torch.float64)
    return float(torch.linalg.vector_norm(wide))

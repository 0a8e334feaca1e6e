"""Validation without no_grad: the sum of its losses goes into the history with every graph."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "list", name="history")


def validate(model: nn.Module) -> torch.Tensor:
    total = torch.zeros(())
    for _ in range(4):
        total = total + model(torch.randn(16, 8)).pow(2).mean()
    return total / 4


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    history = []
    for _ in range(12):
        optimizer.zero_grad()
        model(torch.randn(16, 8)).pow(2).mean().backward()
        optimizer.step()
        history.append(validate(model))  # bug

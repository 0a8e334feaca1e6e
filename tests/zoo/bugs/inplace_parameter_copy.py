"""Weights are clipped by copy_ between forward and backward."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", raises="RuntimeError")


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = model(torch.randn(4, 8)).pow(2).mean()
    with torch.no_grad():
        weight = model[2].weight
        weight.copy_(weight.clamp(-0.1, 0.1))  # bug
    loss.backward()
    optimizer.step()

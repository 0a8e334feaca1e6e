"""Weights are clipped by copy_ between forward and backward."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", raises="RuntimeError")


def train() -> None:
    head = nn.Linear(8, 1)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = model(torch.randn(4, 8)).pow(2).mean()
    with torch.no_grad():
        head.weight.copy_(head.weight.clamp(-0.1, 0.1))  # bug
    loss.backward()
    optimizer.step()

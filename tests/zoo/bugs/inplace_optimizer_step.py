"""The critic is updated between two backwards of one graph."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", "optimizer step", fix="before the optimizer", raises="RuntimeError")


def train() -> None:
    critic = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    for _ in range(2):
        value = critic(torch.randn(4, 8))
        first, second = value.mean(), value.pow(2).mean()
        first.backward(retain_graph=True)
        optimizer.step()  # bug
        second.backward()
        optimizer.step()

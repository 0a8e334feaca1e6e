"""Two losses of one graph: the first keeps it, the second frees it, and then the optimizer steps."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    trunk, first, second = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 1)
    optimizer = torch.optim.SGD([*trunk.parameters(), *first.parameters(), *second.parameters()], lr=0.01)
    for _ in range(8):
        optimizer.zero_grad()
        features = trunk(torch.randn(16, 8)).tanh()
        first(features).pow(2).mean().backward(retain_graph=True)
        second(features).pow(2).mean().backward()
        optimizer.step()

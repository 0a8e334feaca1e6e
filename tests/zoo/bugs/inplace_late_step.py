"""The overwrite comes at a later step only, when no trace runs any more."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", name="gate", raises="RuntimeError")


def train() -> None:
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(8):
        optimizer.zero_grad()
        gate = torch.tanh(model(torch.randn(16, 8)))
        if step == 6:
            gate *= 0.5  # bug
        gate.pow(2).mean().backward()
        optimizer.step()

"""A gate is rescaled with += although sigmoid's backward needs what it returned."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", name="gate", fix="gate = gate + 0.1", raises="RuntimeError")


def train() -> None:
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(16, 8)
    gate = torch.sigmoid(model(x))  # other
    gate += 0.1  # bug
    (gate * x).pow(2).mean().backward()
    optimizer.step()

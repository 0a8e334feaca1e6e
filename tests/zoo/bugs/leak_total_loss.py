"""The running total is a tensor: its graph goes back through every step."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "accumulated", name="total", fix=".item()")


def train() -> float:
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    total = 0.0
    for _ in range(14):
        loss = model(torch.randn(16, 8)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss  # bug
    return float(total)

"""exp's result is normalised through a view of it."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", name="weights", fix="clone", raises="RuntimeError")


def train() -> None:
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        weights = model(torch.randn(4, 8)).exp()  # other
        first = weights[:, 0]
        first.clamp_(max=1.0)  # bug
        weights.sum().backward()
        optimizer.step()

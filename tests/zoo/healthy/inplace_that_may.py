"""In-place ops where no backward needs the old value: relu_ of a Linear's output, += and a view of the last layer's."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        output = model(torch.randn(16, 8))
        output += 1.0
        output[:, 0] *= 2.0
        output.pow(2).mean().backward()
        optimizer.step()

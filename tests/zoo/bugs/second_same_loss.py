"""backward() is called twice on one loss."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("second backward", "same loss", name="loss", fix="once", raises="RuntimeError")


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = model(torch.randn(4, 8)).pow(2).mean()
    loss.backward()  # other
    print(f"loss {loss.item():.2f}")
    loss.backward()  # bug
    optimizer.step()

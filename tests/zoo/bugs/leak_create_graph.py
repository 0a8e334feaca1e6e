"""A gradient penalty by backward(create_graph=True), and gradients that are never set to None."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "create_graph cycle", fix="zero_grad", also=("exploding", "update ratio"))


def train() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(14):
        loss = model(torch.randn(16, 4)).pow(2).mean()
        loss.backward(create_graph=True)  # bug
        optimizer.step()

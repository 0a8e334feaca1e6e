"""Losses are kept in a list for the plot at the end, each with its graph."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "list", name="losses", fix="losses.append(loss.item())")


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(14):
        loss = model(torch.randn(16, 8)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)  # bug

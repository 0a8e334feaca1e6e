"""Predictions are cached by step, with all activations behind them."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "list", name="outputs", fix=".detach()")


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    outputs = {}
    for step in range(14):
        optimizer.zero_grad()
        prediction = model(torch.randn(16, 8))
        prediction.pow(2).mean().backward()
        optimizer.step()
        outputs[step] = {"prediction": prediction}  # bug

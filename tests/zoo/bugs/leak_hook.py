"""A forward hook collects activations of an inner layer and is never emptied."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "hook", name="activations")


def watch_layer(layer: nn.Module) -> None:
    activations = []

    def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        activations.append(output)  # bug

    layer.register_forward_hook(hook)


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    watch_layer(model[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(14):
        optimizer.zero_grad()
        model(torch.randn(16, 8)).pow(2).mean().backward()
        optimizer.step()

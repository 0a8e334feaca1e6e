"""A module-level cache keeps features by key."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "global", name="CACHE")

CACHE: dict[str, torch.Tensor] = {}


def remember(key: str, value: torch.Tensor) -> torch.Tensor:
    CACHE[key] = value  # bug
    return value


def train() -> None:
    body, head = nn.Linear(8, 32), nn.Linear(32, 1)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.01)
    for step in range(14):
        optimizer.zero_grad()
        features = remember(f"batch {step}", torch.tanh(body(torch.randn(16, 8))))
        head(features).pow(2).mean().backward()
        optimizer.step()

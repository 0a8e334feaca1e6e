"""Weights kept in bfloat16 alone: steps of a usual size are rounded away."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "update ratio", cause="too low", parameters=("0.weight",), fix="float32", says="although gradients arrive"
)


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4)).bfloat16()
    for weight in model.parameters():
        nn.init.uniform_(weight, 0.2, 0.4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for _ in range(24):
        optimizer.zero_grad()
        model(torch.randn(16, 16, dtype=torch.bfloat16)).square().mean().backward()
        optimizer.step()

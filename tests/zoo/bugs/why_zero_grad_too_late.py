"""zero_grad() stands between backward and step: the optimizer steps with nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("zeroed", parameters=("0.weight", "0.bias", "2.weight", "2.bias"), fix="before backward()")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(4):
        loss = model(torch.randn(16, 4)).square().mean()
        loss.backward()
        optimizer.zero_grad()  # bug
        optimizer.step()

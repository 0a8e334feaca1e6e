"""Four micro-batches to each optimizer step."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for index in range(24):
        (model(torch.randn(8, 4)).square().mean() / 4).backward()
        if index % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()

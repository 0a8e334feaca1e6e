"""A ReLU net with single samples as batches: half of its units are off at each, another half each time."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence(but_not=("dead units", "vanishing"))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(1, 16)), torch.randint(0, 4, (1,))).backward()
        optimizer.step()

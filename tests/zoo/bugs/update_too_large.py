"""A learning rate copied from SGD into Adam: weights are rewritten every few steps."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected(
    "update ratio", cause="too high", parameters=("0.weight", "2.weight"), fix="Divide the learning rate of Adam by"
)


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(24):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(16, 16)), torch.randint(0, 4, (16,))).backward()
        optimizer.step()

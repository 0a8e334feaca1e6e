"""A weight decay of 0.5 for SGD, which multiplies it with the learning rate each step: it outweighs every gradient."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("update ratio", cause="weight decay", parameters=("0.weight",), fix="weight_decay of SGD")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(16, 16)), torch.randint(0, 4, (16,))).backward()
        optimizer.step()

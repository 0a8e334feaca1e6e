"""The head is renewed after the optimizer was made, which goes on updating the old one."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("replaced", parameters=("2.weight", "2.bias"), fix="after the last change")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())
    model[2] = nn.Linear(8, 3)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).logsumexp(1).mean().backward()
        optimizer.step()

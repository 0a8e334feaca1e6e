"""A learning rate at which every step makes the loss larger."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("exploding", cause="steps", fix="learning rate", also=("update ratio",))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.5)
    x = torch.randn(64, 8)
    for _ in range(24):
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()

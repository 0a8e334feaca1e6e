"""A weight of 1 / distance, which is Inf for equal points, times 0."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="division by zero")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        distance = (x - x[0]).abs().sum(-1, keepdim=True) * hidden.square().mean().add(1)
        weight = 1 / distance  # bug
        return weight * (x - x[0]) * hidden


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

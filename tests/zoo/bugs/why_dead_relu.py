"""A bias far below zero: the ReLU is never above it and passes nothing to the first layer."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "zero gradient", "masked by ReLU", parameters=("first.weight", "first.bias"), also=("dead units", "vanishing")
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 1)
        nn.init.constant_(self.first.bias, -100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        hidden = torch.relu(hidden)  # bug
        return self.last(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        (model(torch.randn(16, 4)) - 1).square().mean().backward()
        optimizer.step()

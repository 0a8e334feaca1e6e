"""The warm-up factor of a branch is an integer division and stays 0."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("zero gradient", "multiplied by 0", parameters=("branch.weight", "branch.bias"), fix="factor")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.branch, self.step = nn.Linear(4, 1), nn.Linear(4, 1), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.step += 1
        extra = self.branch(x) * (self.step // 1000)  # bug
        return self.trunk(x) + extra


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        (model(torch.randn(16, 4)) - 1).square().mean().backward()
        optimizer.step()

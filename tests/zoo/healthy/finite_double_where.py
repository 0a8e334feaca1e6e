"""A safe value before the root, and where after it."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("nan", "inf", "underflow"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = torch.relu(self.first(x))
        safe = torch.where(squares > 0, squares, torch.ones_like(squares))
        return torch.where(squares > 0, torch.sqrt(safe), torch.zeros_like(safe))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

"""A distance whose root is taken everywhere, and kept only where it is positive."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="masked where", parameters=("first.weight",), fix="before the sqrt")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = self.first(x) ** 2
        roots = torch.sqrt(squares)  # bug
        return torch.where(squares > 0, roots, torch.zeros_like(roots))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.eye(5)[:, :4]).sum()
        loss.backward()
        optimizer.step()

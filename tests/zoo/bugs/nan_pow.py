"""A power of 0.5 of zeros."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="pow at 0")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).abs()
        return hidden**0.5  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.eye(5)[:, :4]).sum()
        loss.backward()
        optimizer.step()

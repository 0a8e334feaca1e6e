"""The program looks for NaN itself and leaves its loop before backward."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="log of a negative")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(self.first(x))  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    for _ in range(3):
        loss = model(torch.randn(8, 4)).mean()
        if torch.isnan(loss):
            break
        loss.backward()

"""A NaN in the unused part of an output, which nan_to_num turns into 0 before anything else."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("nan", "inf", "underflow"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        with torch.no_grad():
            ratio = torch.nan_to_num(hidden / (hidden - hidden), posinf=0.0, neginf=0.0)
        return hidden + ratio


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

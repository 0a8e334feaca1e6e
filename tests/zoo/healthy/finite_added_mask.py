"""A mask of -inf is added to the scores, through a module."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("nan", "inf", "underflow"))


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) @ x.T + torch.full((8, 8), float("-inf")).triu(1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = Scores()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.scores(x)
        return torch.softmax(scores, -1) @ x


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

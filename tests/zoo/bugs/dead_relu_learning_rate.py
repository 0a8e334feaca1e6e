"""The first steps are so large that most units are pushed below zero for good."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from zoo.expected import Expected

EXPECTED = Expected(
    "dead units", parameters=("hidden.bias",), fix="learning rate", also=("zero gradient", "update ratio")
)


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu_(self.hidden(x)))  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Regression()
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    for _ in range(40):
        optimizer.zero_grad()
        x = torch.rand(32, 4)
        mse_loss(model(x), x.sum(1, keepdim=True)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

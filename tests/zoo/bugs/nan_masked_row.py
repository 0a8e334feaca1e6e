"""Attention in which the mask leaves nothing to one row."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="fully masked softmax row", fix="at least one value")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.first(x) @ x.T
        mask = torch.ones(8, 8).tril().bool()
        mask[3] = False
        weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1)  # bug
        return weights @ x


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

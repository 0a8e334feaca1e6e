"""A softmax by hand without subtracting the largest: Inf over Inf."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="exp overflow", fix="softmax")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.exp(self.first(x))  # bug
        return weights / weights.sum(-1, keepdim=True)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(1000 * torch.eye(4)).sum()
        loss.backward()
        optimizer.step()

"""Vectors of zeros, normalised without an eps."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="division by zero", fix="eps", also=("zero gradient",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(x) - 100)
        return hidden / hidden.norm(dim=-1, keepdim=True)  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

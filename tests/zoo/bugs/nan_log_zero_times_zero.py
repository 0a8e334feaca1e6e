"""An entropy over probabilities of which some are exactly 0."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="log of 0", fix="xlogy")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = torch.relu(self.first(x))
        return -(p * torch.log(p)).sum(-1)  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

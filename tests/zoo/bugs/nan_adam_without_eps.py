"""Adam with eps=0 divides 0 by 0 where a gradient is exactly 0."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="optimizer", fix="eps")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.eye(4)[:, :4] * torch.tensor([1.0, 1.0, 1.0, 0.0])).sum()
        loss.backward()
        optimizer.step()

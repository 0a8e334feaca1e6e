"""A model in float16 and a loss that is scaled down: its gradients are too small for it."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("underflow", parameters=("first.weight",), fix="GradScaler")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) * 1e-6


def train() -> None:
    torch.manual_seed(0)
    model = Net().half()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.rand(8, 4).half()).sum()
        loss.backward()
        optimizer.step()

"""Only the body was given to the optimizer: the head gets gradients that nobody uses."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "not optimized", "in no optimizer", parameters=("head.weight", "head.bias"), fix="Give the optimizer"
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.body.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()

"""Per-sample terms are put into a new tensor: the penalty's parameters are cut off."""

import warnings

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "rebuilt", parameters=("gate.weight", "gate.bias"), fix="torch.stack")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.gate = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = [self.gate(row).sigmoid().squeeze() for row in x]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights = torch.tensor(gates)  # bug
        return self.body(x).squeeze() * weights


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(3, 4)).mean().backward()
        optimizer.step()

"""Only the model's gradients are cleared: the temperature keeps that of the first step and moves by it for ever."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("stale", "applied again", parameters=("temperature.weight",), fix="Clear all gradients")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.temperature = nn.Linear(4, 4), nn.Linear(1, 1, bias=False)

    def forward(self, x: torch.Tensor, *, first: bool) -> torch.Tensor:
        y = self.body(x)
        return y * self.temperature(torch.ones(1)) if first else y


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(6):
        model.body.zero_grad()
        model(torch.randn(16, 4), first=step == 0).square().mean().backward()
        optimizer.step()

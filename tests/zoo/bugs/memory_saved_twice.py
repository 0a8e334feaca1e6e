"""The hidden state is cloned "to be safe" although nothing writes to it: its data is saved twice."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("saved twice", says="the same data", fix=".clone()")


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 1024)
        self.gate = nn.Linear(1024, 4)
        self.down = nn.Linear(1024, 4)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.up(batch))
        safe = hidden.clone()  # bug
        return self.gate(hidden) * self.down(safe)


def train() -> None:
    torch.manual_seed(0)
    model = Gated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(512, 64)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

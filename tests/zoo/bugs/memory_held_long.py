"""The model keeps the features of its latest batch as an attribute: backward cannot free what it saved."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("held long", says="the program still holds it")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(64, 1024)
        self.late = nn.Sequential(nn.Linear(1024, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.features = torch.tanh(self.early(batch))  # bug
        return self.late(self.features)


def train() -> None:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(512, 64)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

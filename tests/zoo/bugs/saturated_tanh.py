"""Weights of standard deviation 1 drive tanh to its ends."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from zoo.expected import Expected

EXPECTED = Expected("saturated", cause="tanh", fix="xavier", also=("update ratio", "vanishing"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 1)
        nn.init.normal_(self.first.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        return self.second(hidden.tanh())  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        x = torch.randn(16, 64)
        mse_loss(model(x), x[:, :1]).backward()
        optimizer.step()

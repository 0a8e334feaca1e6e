"""A reward with the wrong sign pulls each feature back where the loss pushes it."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("conflict", name="fit", says="reward", also=("drowned",))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def train() -> None:
    torch.manual_seed(0)
    model = Trunk()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        x = torch.randn(16, 8)
        output = model(x)
        fit = (output - x).square().mean()
        reward = (output * x).mean() * 2 - output.square().mean() * 0.9
        loss = fit + reward  # bug
        loss.backward()
        optimizer.step()

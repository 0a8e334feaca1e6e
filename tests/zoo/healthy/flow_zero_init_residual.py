"""Residual blocks that begin as nothing: their last layer starts at zero, and a learned scale is small by design."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("vanishing", "dead units"))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.full((16,), 1e-5))
        nn.init.zeros_(self.last.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.last(torch.relu(self.first(x)))
        return x + self.scale * torch.tanh(self.first(x))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Block() for _ in range(5)), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(16):
        optimizer.zero_grad()
        (model(torch.randn(16, 16)) - 1).square().mean().backward()
        optimizer.step()

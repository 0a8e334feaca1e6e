"""Two branches that take turns: each gets its gradient on the steps it is used."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


class Either(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.left, self.right = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor, *, left: bool) -> torch.Tensor:
        hidden = torch.tanh(self.trunk(x))
        return self.left(hidden) if left else self.right(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Either()
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(9):
        optimizer.zero_grad()
        model(torch.randn(16, 4), left=step % 3 != 2).square().mean().backward()
        optimizer.step()

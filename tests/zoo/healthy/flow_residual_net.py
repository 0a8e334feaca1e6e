"""Twenty pre-norm residual blocks."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("vanishing", "exploding", "drowned", "conflict"))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(self.norm(x))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), *(Block() for _ in range(20)), nn.LayerNorm(16), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        (model(torch.randn(8, 8)) - 1).square().mean().backward()
        optimizer.step()

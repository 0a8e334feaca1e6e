"""Small weights behind tanh shrink the gradient at each block, which are checkpointed and called by name."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.expected import Expected

EXPECTED = Expected("vanishing", cause="depth", fix="init")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        nn.init.normal_(self.linear.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).tanh()  # bug


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({name: Block() for name in ("first", "second", "third", "fourth", "fifth")})
        self.head = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks.values():
            x = checkpoint(block, x, use_reentrant=False)
        return self.head(x)


def train() -> None:
    torch.manual_seed(0)
    model = Deep()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(16, 16)).square().mean().backward()
        optimizer.step()

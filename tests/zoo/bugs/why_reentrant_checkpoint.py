"""Reentrant checkpoint of the first block: its input needs no gradient, so the block's parameters get none."""

import warnings

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zoo.expected import Expected

EXPECTED = Expected(
    "unreached", "reentrant checkpoint", parameters=("block.weight", "block.bias"), fix="use_reentrant=False"
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.head = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hidden = checkpoint(self.block, x, use_reentrant=True)
        return self.head(torch.relu(hidden))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()

"""A feature extractor that is to be trained kept its @torch.no_grad() from inference."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "no_grad", parameters=("conv.weight", "conv.bias"), fix="torch.no_grad()")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(1, 4, 3), nn.Linear(4, 1)

    @torch.no_grad()
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean(-1)  # bug

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 1, 12)).mean().backward()
        optimizer.step()

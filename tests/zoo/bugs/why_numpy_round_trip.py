"""A layer's output is filtered with numpy and comes back without a graph."""

import numpy as np
import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "numpy", parameters=("front.weight", "front.bias"), fix="torch function")


class Filtered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.back = nn.Linear(6, 6), nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.front(x)
        smooth = torch.from_numpy(np.tanh(y.detach().numpy()))  # bug
        return self.back(smooth)


def train() -> None:
    torch.manual_seed(0)
    model = Filtered()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 6)).mean().backward()
        optimizer.step()

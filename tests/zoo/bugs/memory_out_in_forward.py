"""Memory runs out in a module's forward: a pairwise distance matrix over far too many points."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("out of memory", cause="forward", name="distances", says="256 TiB", raises="RuntimeError")


class Distances(nn.Module):
    def forward(self, hidden: torch.Tensor, points: int) -> torch.Tensor:
        matrix = torch.zeros(points * 1024, points * 1024, dtype=torch.float32)  # bug
        return hidden.sum() + matrix.sum()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 256)
        self.distances = Distances()

    def forward(self, batch: torch.Tensor, points: int) -> torch.Tensor:
        return self.distances(torch.tanh(self.embed(batch)), points)


def train() -> None:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for points in (1, 1 << 13):
        model(torch.randn(32, 64), points).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

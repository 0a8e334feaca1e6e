"""An auxiliary loss with a forgotten factor: the main one teaches the trunk nothing."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("drowned", cause="loss", name="main", says="aux", also=("update ratio",))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32))
        self.label = nn.Linear(32, 4)
        self.size = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.trunk(x)
        return self.label(features), self.size(features)


def train() -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        label, size = model(torch.randn(16, 16))
        main = cross_entropy(label, torch.randint(0, 4, (16,)))
        aux = (1e3 * size - 5e3).square().mean()
        loss = main + aux  # bug
        loss.backward()
        optimizer.step()

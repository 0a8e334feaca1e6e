"""Every layer starts with weights of standard deviation 1, as if they had one input each."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("exploding", cause="depth", fix="kaiming", also=("update ratio",))


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(8)))
        self.head = nn.Linear(64, 1)
        for weight in self.body.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Deep()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        (model(torch.randn(16, 64)) - 1).abs().mean().backward()
        optimizer.step()

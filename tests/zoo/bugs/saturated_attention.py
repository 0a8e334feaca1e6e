"""Attention without the division by the square root of the width: its softmax picks one and passes nothing on."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("saturated", cause="softmax", fix="square root")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(64, 64)
        self.key = nn.Linear(64, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = 100 * self.query(x) @ self.key(x).mT
        return self.head(scores.softmax(-1) @ x)  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Attention()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(12):
        optimizer.zero_grad()
        (model(torch.randn(4, 6, 64)) - 1).square().mean().backward()
        optimizer.step()

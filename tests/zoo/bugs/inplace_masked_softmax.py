"""Attention weights are masked after softmax, in place."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", name="attention", raises="RuntimeError")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.project(x)
        attention = torch.softmax(query @ x.transpose(1, 2), dim=-1)  # other
        attention.masked_fill_(torch.ones(5, 5).triu(1).bool(), 0.0)  # bug
        return attention @ x


def train() -> None:
    model = Attention()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 5, 8)).pow(2).mean().backward()
    optimizer.step()

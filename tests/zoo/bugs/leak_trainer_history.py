"""A trainer's history keeps the losses themselves."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "attribute", name="trainer.history", says="still alive")


class Trainer:
    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.history: list[torch.Tensor] = []

    def step(self, batch: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.model(batch).square().mean()
        loss.backward()
        self.optimizer.step()
        self.history.append(loss)  # bug


def train() -> None:
    trainer = Trainer()
    for _ in range(14):
        trainer.step(torch.randn(4, 8))

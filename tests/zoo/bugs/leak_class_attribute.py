"""A metric class keeps tensors in a list that all its objects share."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("retained graph", "attribute", name="Metric.values")


class Metric:
    values: list[torch.Tensor] = []  # noqa: RUF012 # the bug of many a metric

    def update(self, value: torch.Tensor) -> None:
        self.values.append(value)  # bug


def train() -> None:
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(14):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 8)).pow(2).mean()
        loss.backward()
        optimizer.step()
        Metric().update(loss)

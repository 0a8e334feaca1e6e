"""A callback's closure collects what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from zoo.expected import Expected

if TYPE_CHECKING:
    from collections.abc import Callable

EXPECTED = Expected("retained graph", "closure", name="seen")


def make_logger() -> Callable[[torch.Tensor], None]:
    seen = []

    def log(value: torch.Tensor) -> None:
        seen.append(value)  # bug

    return log


def train() -> None:
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    log = make_logger()
    for _ in range(14):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 8)).abs().mean()
        loss.backward()
        optimizer.step()
        log(loss)

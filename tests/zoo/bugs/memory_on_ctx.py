"""A custom Function keeps its big intermediate as an attribute of ctx, where backward does not free it."""

from typing import Any

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("held by ctx", name="ctx.wave", fix="ctx.save_for_backward(wave)")


class Wave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.wave = values.cos()
        return values.sin()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * ctx.wave


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 1024)
        self.head = nn.Linear(1024, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.head(Wave.apply(self.inner(batch)))


def train() -> None:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(512, 64)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

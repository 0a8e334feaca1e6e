"""A custom Function saved its input, which is then shifted in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("in-place", name="hidden", raises="RuntimeError")


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradients[0]


def train() -> None:
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    hidden = model(torch.randn(4, 8))
    energy = Square.apply(hidden)  # other
    hidden.sub_(1.0)  # bug
    energy.mean().backward()
    optimizer.step()

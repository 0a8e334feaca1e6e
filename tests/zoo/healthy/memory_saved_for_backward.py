"""The twin of the ctx attribute: save_for_backward, and a small number on ctx."""

from typing import Any

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("held by ctx", "saved twice"))


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = torch.tensor(factor)
        ctx.save_for_backward(values)
        return values.sin() * factor

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (values,) = ctx.saved_tensors
        return gradients[0] * values.cos() * ctx.factor, None


def train() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(64, 1024), nn.Linear(1024, 1)
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=0.1)
    for _ in range(3):
        last(Scale.apply(first(torch.randn(512, 64)), 2.0)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

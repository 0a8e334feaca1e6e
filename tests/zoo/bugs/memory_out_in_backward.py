"""Memory runs out in the backward of a custom Function, which makes the whole Jacobian."""

from typing import Any

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("out of memory", cause="backward", says="backward of step 0", raises="RuntimeError")


class Sharpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values)
        return values.sin()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (values,) = ctx.saved_tensors
        jacobian = torch.zeros(1 << 23, 1 << 23)  # bug
        return gradients[0] @ jacobian * values.cos()


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = Sharpen.apply(model(torch.randn(64, 16))).mean()
    loss.backward()
    optimizer.step()

"""A custom Function whose backward divides by what it saved."""

from typing import Any

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="custom Function", parameters=("first.weight",))


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0] * ctx.saved_tensors[0] / ctx.saved_tensors[0] * 2


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Scale.apply(self.first(x))  # bug


def train() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.eye(5)[:, :4]).sum()
        loss.backward()
        optimizer.step()

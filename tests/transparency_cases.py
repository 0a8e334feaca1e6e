"""What the programs share that a recorder might disturb: a table that they are in, and what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable


class Cases(dict[str, "Callable[[], object]"]):
    """Programs by name. Each returns what can be compared, or raises what must stay the same."""

    def add(self, program: Callable[[], object]) -> Callable[[], object]:
        """Add a program; a decorator."""
        self[program.__name__] = program
        return program


def leaf(*shape: int) -> Tensor:
    """Random numbers that ask for a gradient."""
    return torch.rand(*shape, requires_grad=True)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradients[0]


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return y * gradients[0]


def network_of_two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def smooth_loss(x: Tensor) -> Tensor:
    return (x.sin() * x.exp()).sum()

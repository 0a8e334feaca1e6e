"""One graph, kept and run again and again: a constant embedding that is trained through."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    weight = nn.Parameter(torch.randn(8, 1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    loss = (torch.randn(16, 8) @ weight).pow(2).mean()
    for _ in range(14):
        weight.grad = None
        loss.backward(retain_graph=True)
    optimizer.step()

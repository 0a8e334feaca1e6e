"""A mask meant for one row sets the whole gradient to zero in place before every step."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("zeroed", parameters=("weight",))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Embedding(10, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad(set_to_none=False)
        model(torch.randint(1, 10, (16,))).square().mean().backward()
        assert model.weight.grad is not None
        model.weight.grad.zero_()  # bug
        optimizer.step()

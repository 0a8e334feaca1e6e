"""A NaN is handed to backward() as the gradient to start from."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="in the seed gradient", parameters=("weight", "bias"))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        output = model(torch.randn(3, 4))
        weights = torch.zeros(3, 2) / torch.zeros(3, 2)
        output.backward(gradient=weights)  # bug
        optimizer.step()

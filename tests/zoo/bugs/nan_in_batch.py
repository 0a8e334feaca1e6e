"""The batch of the second step has a NaN."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="in the input", parameters=("0.weight",))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(3):
        batch = torch.randn(8, 4)
        if step == 1:
            batch[2, 3] = float("nan")
        optimizer.zero_grad()
        loss = model(batch).mean()  # bug
        loss.backward()
        optimizer.step()

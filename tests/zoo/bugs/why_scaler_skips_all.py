"""The loss overflows under every scale: GradScaler skips step after step."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("skipped", fix="is born", says="12 steps in a row", also=("nan", "inf"))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(12):
        optimizer.zero_grad()
        loss = (model(torch.ones(8, 4)) * 0).sqrt().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

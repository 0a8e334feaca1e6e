"""A validation batch goes through the model in every step without no_grad: its graph is made and held for nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("saved unused", fix="torch.no_grad()")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch, labels = torch.randn(64, 64), torch.randint(0, 10, (64,))
    held_out, truth = torch.randn(2048, 64), torch.randint(0, 10, (2048,))
    curve = []
    for _ in range(3):
        predicted = model(held_out)
        validation = nn.functional.cross_entropy(predicted, truth)  # bug
        curve.append(validation.item())
        nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

"""Evaluation under no_grad and in eval mode after every other step."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def evaluate(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        loss = model(torch.randn(32, 4)).square().mean().item()
    model.train()
    return loss


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(8):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
        if step % 2:
            evaluate(model)

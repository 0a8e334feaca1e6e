"""Accuracy by argmax, the loss by .item(), norms by numpy: read at every step, for people."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())
    history = []
    for _ in range(6):
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy = (logits.argmax(1) == y).float().mean().item()
        history.append((loss.item(), accuracy, float(logits.detach().numpy().std())))

"""Numbers in lists, an average of parameters, and a replay buffer of detached tensors."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses, replay, running = [], [], 0.0
    for _ in range(14):
        optimizer.zero_grad()
        output = model(torch.randn(16, 8))
        loss = output.pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        replay.append(output.detach())
        running = 0.9 * running + 0.1 * loss.detach()
        for name, value in model.named_parameters():
            average[name].lerp_(value.detach(), 0.1)

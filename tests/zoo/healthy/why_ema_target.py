"""Self-distillation: a target network follows by EMA, its output is detached on purpose."""

import copy

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    online = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters())
    for _ in range(6):
        x = torch.randn(16, 4)
        goal = target(x + 0.1 * torch.randn_like(x)).detach()
        loss = (online(x) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
                mine.lerp_(theirs, 0.01)

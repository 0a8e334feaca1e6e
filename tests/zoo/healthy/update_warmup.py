"""Fine-tuning with a warmup from 0 to a small learning rate."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence(but_not=("update ratio",))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 16))
    for _ in range(24):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(16, 16)), torch.randint(0, 4, (16,))).backward()
        optimizer.step()
        schedule.step()

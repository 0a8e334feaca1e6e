"""Fine-tuning: the backbone is frozen on purpose, the optimizer has all parameters."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for index in range(4):
        model[index].requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).logsumexp(1).mean().backward()
        optimizer.step()

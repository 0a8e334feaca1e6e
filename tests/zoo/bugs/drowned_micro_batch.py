"""Micro-batches whose weights come from a softmax over their lengths: the short one teaches nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("drowned", cause="micro-batch", fix="divide each loss by the same number")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(20):
        parts = [torch.randn(24, 8), torch.randn(8, 8)]
        weights = torch.tensor([float(len(part)) for part in parts]).softmax(0)
        optimizer.zero_grad()
        for part, weight in zip(parts, weights, strict=True):
            loss = weight * (model(part).squeeze(1) - part.sum(1)).square().mean()  # bug
            loss.backward()
        optimizer.step()

"""Two tasks on one trunk, and a penalty that is small by design."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from zoo.expected import Silence

EXPECTED = Silence(but_not=("conflict",))


def train() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 32))
    label, size = nn.Linear(32, 4), nn.Linear(32, 1)
    optimizer = torch.optim.Adam([*trunk.parameters(), *label.parameters(), *size.parameters()], lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        x = torch.randn(16, 16)
        features = trunk(x)
        first = cross_entropy(label(features), torch.randint(0, 4, (16,)))
        second = mse_loss(size(features), x[:, :1])
        penalty = features.square().mean()
        (first + second + 1e-6 * penalty).backward()
        optimizer.step()

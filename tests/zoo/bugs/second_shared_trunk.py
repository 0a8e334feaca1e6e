"""Two losses share a trunk, and each is run backward on its own."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("second backward", "shared graph", name="features", fix="Sum the losses", raises="RuntimeError")


def train() -> None:
    trunk, policy, value = nn.Linear(8, 16), nn.Linear(16, 2), nn.Linear(16, 1)
    optimizer = torch.optim.SGD([*trunk.parameters(), *policy.parameters(), *value.parameters()], lr=0.01)
    features = trunk(torch.randn(4, 8)).tanh()
    policy(features).pow(2).mean().backward()  # other
    value(features).pow(2).mean().backward()  # bug
    optimizer.step()

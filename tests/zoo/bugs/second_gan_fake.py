"""The discriminator's loss takes the fakes with their graph, so its backward frees the generator's."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("second backward", "shared graph", name="fake", fix="detach", raises="RuntimeError")


def train() -> None:
    generator, critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    optimizer = torch.optim.Adam([*generator.parameters(), *critic.parameters()])
    fake = generator(torch.randn(4, 4))
    critic(fake).mean().backward()  # other
    loss = -critic(fake).mean()
    loss.backward()  # bug
    optimizer.step()

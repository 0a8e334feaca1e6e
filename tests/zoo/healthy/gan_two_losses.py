"""A GAN: the discriminator's loss takes detached fakes, the generator's the fakes themselves."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    generator = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8))
    critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.Adam(generator.parameters(), lr=1e-3)
    of_critic = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(12):
        fake = generator(torch.randn(16, 4))
        loss = softplus(critic(fake.detach())).mean() + softplus(-critic(torch.randn(16, 8))).mean()
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        loss = softplus(-critic(fake)).mean()
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()

"""A WGAN: by the critic's own loss its last bias has a gradient of exactly 0, by the generator's loss of 1."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
    critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    of_generator = torch.optim.RMSprop(generator.parameters(), lr=5e-5)
    of_critic = torch.optim.RMSprop(critic.parameters(), lr=5e-5)
    for _ in range(12):
        for _ in range(2):
            fake, real = generator(torch.randn(16, 4)).detach(), torch.randn(16, 8)
            of_critic.zero_grad()
            loss = critic(fake).mean() - critic(real).mean()
            loss.backward()
            of_critic.step()
            for parameter in critic.parameters():
                parameter.data.clamp_(-0.1, 0.1)
        of_generator.zero_grad()
        loss = -critic(generator(torch.randn(16, 4))).mean()
        loss.backward()
        of_generator.step()

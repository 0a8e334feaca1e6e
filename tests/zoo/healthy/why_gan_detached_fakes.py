"""A GAN: fakes are detached for the discriminator's loss, and each network has its own optimizer."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 4))
    critic = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(), nn.Linear(16, 1))
    of_generator = torch.optim.Adam(generator.parameters(), lr=1e-3)
    of_critic = torch.optim.Adam(critic.parameters(), lr=1e-3)
    entropy = nn.functional.binary_cross_entropy_with_logits
    for _ in range(6):
        real, fake = torch.randn(16, 4), generator(torch.randn(16, 2))
        of_critic.zero_grad()
        judged_real, judged_fake = critic(real), critic(fake.detach())
        (entropy(judged_real, torch.ones(16, 1)) + entropy(judged_fake, torch.zeros(16, 1))).backward()
        of_critic.step()
        of_generator.zero_grad()
        entropy(critic(fake), torch.ones(16, 1)).backward()
        of_generator.step()

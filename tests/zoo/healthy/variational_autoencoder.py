"""A variational autoencoder: the reparametrized sample, the divergence weighted up over the steps."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo.expected import Silence

EXPECTED = Silence()


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        sample = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(sample), mean, log_variance


def train() -> None:
    torch.manual_seed(0)
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(12):
        x = torch.rand(32, 64).round()
        made, mean, log_variance = model(x)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        loss = binary_cross_entropy_with_logits(made, x, reduction="sum") / len(x) + step / 12 * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

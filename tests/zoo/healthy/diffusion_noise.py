"""A diffusion model learns the noise: time embedding, a last layer that begins at zero, an average of the weights."""

import copy
import math

import torch
from torch import nn
from torch.nn.functional import mse_loss, silu

from zoo.expected import Silence

EXPECTED = Silence()


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Linear(16, 32)
        self.into, self.middle, self.norm = nn.Linear(8, 32), nn.Linear(32, 32), nn.GroupNorm(4, 32)
        self.out = nn.Linear(32, 8)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        angles = time[:, None] * torch.exp(-math.log(1e4) * torch.arange(8) / 8)
        hidden = self.into(x) + self.time(torch.cat([angles.sin(), angles.cos()], -1))
        hidden = hidden + silu(self.norm(self.middle(silu(hidden))))
        return self.out(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Denoiser()
    average = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    kept = torch.linspace(1, 0.01, 100).cumprod(0).clamp(1e-4)
    for _ in range(14):
        x, noise, time = torch.randn(32, 8), torch.randn(32, 8), torch.randint(100, (32,))
        share = kept[time][:, None]
        loss = mse_loss(model(share.sqrt() * x + (1 - share).sqrt() * noise, time.float()), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(parameter, 0.01)

"""LoRA: B begins at zero, so A's gradient is zero at the first step, and the base is frozen."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


class LoRA(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.a = nn.Parameter(torch.randn(2, base.in_features) * 0.1)
        self.b = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(LoRA(nn.Linear(4, 8)), nn.Tanh(), LoRA(nn.Linear(8, 1)))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(6):
        optimizer.zero_grad()
        (model(torch.randn(32, 4)) - 1).square().mean().backward()
        optimizer.step()

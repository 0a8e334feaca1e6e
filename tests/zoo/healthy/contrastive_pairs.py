"""Contrastive learning of image and text encoders with a learned temperature, as CLIP does it."""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from zoo.expected import Silence

EXPECTED = Silence()


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 16, bias=False))
        self.text = nn.Sequential(nn.EmbeddingBag(50, 32), nn.GELU(), nn.Linear(32, 16, bias=False))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        left, right = normalize(self.image(images), dim=-1), normalize(self.text(texts), dim=-1)
        return self.logit_scale.exp() * left @ right.T


def train() -> None:
    torch.manual_seed(0)
    model = Pairs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(12):
        logits = model(torch.randn(16, 24), torch.randint(50, (16, 6)))
        pairs = torch.arange(16)
        loss = (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

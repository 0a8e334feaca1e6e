"""Attention written out: a matrix of B x heads x T x T is saved for the softmax, and again for its mask and product."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("what if", cause="fused attention", fix="scaled_dot_product_attention(q, k, v)")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.dropout = nn.Dropout(0.1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(batch).reshape(*batch.shape[:2], 3, 4, 8).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1)  # bug
        return (self.dropout(scores) @ v).transpose(1, 2).flatten(2)


def train() -> None:
    torch.manual_seed(0)
    model = Attention()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.randn(4, 256, 32)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

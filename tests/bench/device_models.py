"""GPT-2 in torch alone, for machines that have no more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention


@dataclass(frozen=True)
class GptSize:
    """Sizes of a GPT: `width` features, `positions` tokens a sequence, `batch` sequences. By default GPT-2's 124M."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    positions: int = 1024
    batch: int = 8
    vocabulary: int = 50257


class Block(nn.Module):
    """Attention and a multilayer perceptron, each on normalised values and added to them."""

    def __init__(self, size: GptSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.query_key_value = nn.Linear(size.width, 3 * size.width)
        self.attended = nn.Linear(size.width, size.width)
        self.mlp = nn.Sequential(
            nn.Linear(size.width, 4 * size.width), nn.GELU(approximate="tanh"), nn.Linear(4 * size.width, size.width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Values of shape (batch, positions, width)."""
        batch, positions, width = x.shape
        heads = self.query_key_value(self.before_attention(x)).view(batch, positions, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(attended.transpose(1, 2).reshape(batch, positions, width))
        return x + self.mlp(self.before_mlp(x))


class Gpt(nn.Module):
    """Returns the mean loss of predicting each token from those before it."""

    def __init__(self, size: GptSize) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.positions, size.width)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids of shape (batch, positions)."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        logits = self.head(self.norm(self.blocks(x)))
        return cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


class Program:
    """A training program on CUDA: `step` is one training step in bfloat16 autocast."""

    def __init__(self, size: GptSize) -> None:
        torch.manual_seed(0)
        self.model = Gpt(size).cuda()
        self._tokens = torch.randint(0, size.vocabulary, (size.batch, size.positions), device="cuda")
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def step(self) -> None:
        """Train on the same batch again: what a loader costs is not measured."""
        with torch.autocast("cuda", torch.bfloat16):
            loss = self.model(self._tokens)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

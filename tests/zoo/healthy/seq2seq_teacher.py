"""A sequence to sequence model with attention: teacher forcing by chance, padding left out of the loss, clipping."""

import random

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence()


class Seq2Seq(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(words, 16, padding_idx=0), nn.Embedding(words, 16, padding_idx=0)
        self.encoder, self.decoder = nn.GRU(16, 24, batch_first=True), nn.GRUCell(16 + 24, 24)
        self.out = nn.Linear(24, words)

    def forward(self, source: torch.Tensor, target: torch.Tensor, forcing: float) -> torch.Tensor:
        memory, state = self.encoder(self.source(source))
        state, token, logits = state[0], target[:, 0], []
        padding = source == 0
        for at in range(1, target.shape[1]):
            scores = torch.einsum("bth,bh->bt", memory, state).masked_fill(padding, float("-inf"))
            context = torch.einsum("bt,bth->bh", scores.softmax(-1), memory)
            state = self.decoder(torch.cat([self.target(token), context], -1), state)
            logits.append(self.out(state))
            token = target[:, at] if random.random() < forcing else logits[-1].argmax(-1)
        return torch.stack(logits, 1)


def train() -> None:
    torch.manual_seed(0)
    random.seed(0)
    model = Seq2Seq(30)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        source, target = torch.randint(1, 30, (8, 7)), torch.randint(1, 30, (8, 6))
        source[:4, 5:], target[:4, 4:] = 0, 0
        logits = model(source, target, 0.5)
        loss = cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

"""The hidden state goes on to the next batch with its graph."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("second backward", "carried state", name="hidden", fix="hidden.detach()", raises="RuntimeError")


def train() -> None:
    cell, head = nn.GRUCell(4, 8), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()])
    hidden = torch.zeros(2, 8)
    for _ in range(6):
        optimizer.zero_grad()
        hidden = cell(torch.randn(2, 4), hidden)
        loss = head(hidden).pow(2).mean()
        loss.backward()  # bug
        optimizer.step()

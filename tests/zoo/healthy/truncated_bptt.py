"""A recurrent state carried over many steps, detached at each."""

from __future__ import annotations

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence()


def train() -> None:
    cell, head = nn.GRUCell(4, 8), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()])
    state = torch.zeros(2, 8)
    for _ in range(14):
        optimizer.zero_grad()
        state = state.detach()
        loss = torch.zeros(())
        for _ in range(3):
            state = cell(torch.randn(2, 4), state)
            loss = loss + head(state).pow(2).mean()
        loss.backward()
        optimizer.step()

"""A mixture of experts: each token goes to one of them, some get none in a step, and a loss balances the load."""

import torch
from torch import nn
from torch.nn.functional import one_hot

from zoo.expected import Silence

EXPECTED = Silence()


class Experts(nn.Module):
    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(count)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shares = self.router(x).softmax(-1)
        weight, chosen = shares.max(-1)
        made = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(-1)
            if len(rows):
                made = made.index_add(0, rows, weight[rows, None] * expert(x[rows]))
        load = one_hot(chosen, len(self.experts)).float().mean(0)
        return x + made, len(self.experts) * (load * shares.mean(0)).sum()


def train() -> None:
    torch.manual_seed(0)
    model, head = Experts(8, 6), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(16):
        x = torch.randn(12, 8)
        made, balance = model(x)
        loss = (head(made).squeeze(-1) - x.sum(-1)).square().mean() + 0.01 * balance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

"""A plain tanh cell over forty positions, judged by its last state: what came first teaches it nothing."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("vanishing", fix="GRUCell", says="40 calls of cell")


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x.new_zeros(len(x), 16)
        for position in x.unbind(1):
            hidden = self.cell(position, hidden)  # bug
        return self.head(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(8, 40, 8)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()

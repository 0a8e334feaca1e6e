"""A clipped LSTM, unrolled by hand, and a loss at every position."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence(but_not=("vanishing", "dead units", "saturated"))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 16)
        self.cell = nn.LSTMCell(16, 16)
        self.head = nn.Linear(16, 30)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = cell = torch.zeros(len(tokens), 16)
        outputs: list[torch.Tensor] = []
        for embedded in self.embedding(tokens).unbind(1):
            hidden, cell = self.cell(embedded, (hidden, cell))
            outputs.append(self.head(hidden))
        return torch.stack(outputs, 1)


def train() -> None:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(10):
        optimizer.zero_grad()
        tokens = torch.randint(0, 30, (4, 17))
        cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()

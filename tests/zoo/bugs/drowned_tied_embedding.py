"""A tied embedding scaled down so far that only the output layer trains the shared weight."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("drowned", cause="tied", parameters=("embedding.weight",), says="2 places")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.body = nn.Sequential(nn.Linear(16, 16), nn.GELU())
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(tokens)  # bug
        return self.head(self.body(1e-5 * embedded))  # other


def train() -> None:
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(12):
        optimizer.zero_grad()
        tokens = torch.randint(0, 50, (8, 6))
        cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()

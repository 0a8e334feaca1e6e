"""Ten sigmoid layers: the gradient loses a factor of seven at each."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("vanishing", cause="sigmoid activations", fix="ReLU", says="sigmoid")


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(10))
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))  # bug
        return self.head(x)


def train() -> None:
    torch.manual_seed(0)
    model = Deep()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(16, 24)), torch.randint(0, 4, (16,))).backward()
        optimizer.step()

"""A large negative bias: no unit of the hidden layer is ever on."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Expected

EXPECTED = Expected("dead units", cause="dead layer", parameters=("hidden.bias",), says="ReLU", also=("zero gradient",))


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 32)
        self.head = nn.Linear(32, 4)
        nn.init.constant_(self.hidden.bias, -10.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(x)  # bug
        return self.head(torch.relu(hidden))  # other


def train() -> None:
    torch.manual_seed(0)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(16, 16)), torch.randint(0, 4, (16,))).backward()
        optimizer.step()

"""A batch normalisation by hand; one feature never changes."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="division by a tiny deviation", fix="eps", also=("zero gradient",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(x) - 100)
        centred = hidden - hidden.mean(0)
        return centred / hidden.std(0)  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).sum()
        loss.backward()
        optimizer.step()

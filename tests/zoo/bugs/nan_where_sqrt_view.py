"""The same through a view and masked_fill."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="masked where", parameters=("first.weight",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = self.first(x) ** 2
        roots = squares.view(-1).rsqrt()  # bug
        return roots.masked_fill(squares.view(-1) == 0, 0.0)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.eye(5)[:, :4]).sum()
        loss.backward()
        optimizer.step()

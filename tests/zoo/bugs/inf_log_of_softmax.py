"""The logarithm of a softmax that underflows to 0: the loss is Inf."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("inf", cause="log of 0", fix="log_softmax", also=("nan",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(1000 * self.first(x), -1)
        return -torch.log(p[:, 0])  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).mean()
        loss.backward()
        optimizer.step()

"""log_softmax instead of the logarithm of a softmax."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("nan", "inf", "underflow"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -torch.log_softmax(1000 * self.first(x), -1)[:, 0]


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).mean()
        loss.backward()
        optimizer.step()

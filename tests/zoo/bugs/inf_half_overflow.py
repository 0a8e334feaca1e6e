"""Half precision: the products pass 65504."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("inf", cause="overflow in half precision", also=("nan",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = 300 * self.first(x)
        return hidden.half() * hidden.half()  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(10 * torch.ones(8, 4)).sum()
        loss.backward()
        optimizer.step()

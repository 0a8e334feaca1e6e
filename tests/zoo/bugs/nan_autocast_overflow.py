"""Autocast to float16 with activations that are too large for it."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="overflow in half precision", also=("zero gradient",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.float16):
            hidden = self.first(x)
            energy = hidden @ hidden.T  # bug
        return (energy - energy.amax()).float()


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(3000 * torch.ones(8, 4)).sum()
        loss.backward()
        optimizer.step()

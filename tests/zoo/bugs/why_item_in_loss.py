"""The second term of the loss is added as a Python number: its head gets no gradient."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "number", parameters=("scale.weight", "scale.bias"), fix=".item()")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mean(x), self.scale(x)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        mean, scale = model(torch.randn(16, 4))
        loss = mean.square().mean() + 0.1 * scale.square().mean().item()  # bug
        loss.backward()
        optimizer.step()

"""An auxiliary head is computed at every step and its term is left out of the loss."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "unreached", "unused output", parameters=("auxiliary.weight", "auxiliary.bias"), name="aux_loss", fix="aux_loss"
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(x))
        return self.head(hidden), self.auxiliary(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        output, auxiliary = model(torch.randn(16, 4))
        aux_loss = auxiliary.square().mean()  # bug
        loss = output.square().mean()
        loss.backward()
        optimizer.step()
        print("aux", aux_loss.item())

"""Features pass a helper that detaches them, so the encoder never learns."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "unreached", "detached", parameters=("encoder.weight", "encoder.bias"), name="x", fix="Remove the detach"
)


def normalized(x: torch.Tensor) -> torch.Tensor:
    return x.detach() / 2  # bug


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(normalized(torch.relu(self.encoder(x))))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()

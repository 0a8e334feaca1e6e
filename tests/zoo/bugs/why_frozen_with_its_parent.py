"""The adapter sits inside the backbone that is frozen, so its own optimizer trains nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "frozen", parameters=("backbone.adapter.weight", "backbone.adapter.bias"), fix="requires_grad_(True)"
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Linear(4, 8)), nn.Linear(8, 1)
        self.backbone.add_module("adapter", nn.Linear(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    model.backbone.requires_grad_(requires_grad=False)
    adapter = torch.optim.SGD(model.backbone[1].parameters(), lr=0.1)
    head = torch.optim.Adam(model.head.parameters())
    for _ in range(4):
        model(torch.randn(16, 4)).square().mean().backward()
        for optimizer in (adapter, head):
            optimizer.step()
            optimizer.zero_grad()

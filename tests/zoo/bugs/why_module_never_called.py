"""A projection and a norm are made, optimized and never called."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "unreached",
    "never called",
    parameters=("project.weight", "project.bias", "norm.weight", "norm.bias"),
    fix="find_unused_parameters",
    says="and 3 more",
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 1)
        self.project, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).mean().backward()
        optimizer.step()

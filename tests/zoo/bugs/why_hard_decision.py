"""A router picks its expert by argmax: the choice has no derivative and the router never learns."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "not differentiable", parameters=("router.weight", "router.bias"), fix="softmax")


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 2)
        self.experts = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = torch.cat([expert(x) for expert in self.experts], dim=1)
        chosen = self.router(x).argmax(dim=1, keepdim=True)  # bug
        return outputs.gather(1, chosen)


def train() -> None:
    torch.manual_seed(0)
    model = Mixture()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(32, 4)).square().mean().backward()
        optimizer.step()

"""A checkpoint is assigned in place of the parameters that the optimizer has."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("replaced", parameters=("0.weight", "0.bias", "2.weight", "2.bias"), fix="add_param_group")


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpoint = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(checkpoint, assign=True)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()

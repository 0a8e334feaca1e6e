"""A gradient penalty: the norm of a gradient that is 0, in the second backward."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="norm at 0", parameters=("0.weight",))


def train() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    list(critic.parameters())[1].data.fill_(-100.0)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        x = torch.randn(8, 4, requires_grad=True)
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        norm = (slope**2).sum(1).sqrt()  # bug
        (critic(x).mean() + ((norm - 1) ** 2).mean()).backward()
        optimizer.step()

"""Convolutions with biases before batch norm: the norm takes their gradient away, and nothing is dead."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence(but_not=("dead units", "vanishing", "update ratio"))


def train() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 8), (8, 16), (16, 16), (16, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.randint(0, 4, (4,))).backward()
        optimizer.step()

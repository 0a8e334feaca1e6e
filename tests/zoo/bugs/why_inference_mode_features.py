"""Features are made in inference mode and cloned to be usable: the encoder is in the optimizer for nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected(
    "unreached",
    "inference_mode",
    parameters=("encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias"),
    fix="inference_mode",
)


def train() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    head = nn.Linear(4, 1)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        with torch.inference_mode():
            features = encoder(torch.randn(8, 4))  # bug
        head(features.clone()).mean().backward()
        optimizer.step()

"""The twin of the kept validation: under no_grad, beside a training step, with a metric from detached outputs."""

import torch
from torch import nn

from zoo.expected import Silence

EXPECTED = Silence(but_not=("saved unused", "held long"))


def train() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch, labels = torch.randn(512, 64), torch.randint(0, 10, (512,))
    held_out, truth = torch.randn(2048, 64), torch.randint(0, 10, (2048,))
    for _ in range(3):
        with torch.no_grad():
            assert nn.functional.cross_entropy(model(held_out), truth).item() > 0
        logits = model(batch)
        nn.functional.cross_entropy(logits, labels).backward()
        assert logits.detach().argmax(-1).shape == (512,)
        optimizer.step()
        optimizer.zero_grad()

"""A small network that records itself: what the sessions of these tests are made of."""

import argparse
from collections.abc import Callable

import torch
from torch import nn

import gradwatch

NAN_AT = 40


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.mix = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))
        self.head = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).tanh()  # LINE tanh
        return self.head(x + self.mix(x))


def build() -> tuple[nn.Module, torch.optim.Optimizer, Callable[..., None]]:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(x: torch.Tensor, *, poisoned: bool) -> None:
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()  # LINE loss
        if poisoned:
            loss = loss + (model.embed.weight * 0).sum().sqrt()
        optimizer.zero_grad()
        loss.backward()  # LINE backward
        if not poisoned:
            optimizer.step()

    return model, optimizer, step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--part-at", type=int, default=-1, help="from this step on the data are others")
    options = parser.parse_args()
    model, _, step = build()
    with gradwatch.watch(model, options.path, keep_steps=10) as recorder:
        step = recorder.wrap(step)
        for number in range(options.steps):
            x = torch.randn(16, 8)
            step(x * 1.5 if number == options.part_at else x, poisoned=number == NAN_AT)


if __name__ == "__main__":
    main()

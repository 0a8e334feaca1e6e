"""What `bench_panel` stops in: a model of 1,000 parameters and 10 MB, with a graph of the size that is asked for."""

from __future__ import annotations

import sys

import torch
from torch import nn

PARAMETERS, WIDTH = 1000, 36


class Layer(nn.Module):
    """A matrix product and relu are 4 nodes: t, mm, relu and the parameter's AccumulateGrad."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH, bias=False)
        self.more = more

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x).relu()
        for _ in range(self.more):
            x = x * 1.01
        return x


def main() -> None:
    nodes = int(sys.argv[1])
    layers = min(PARAMETERS, nodes // 4)
    model = nn.Sequential(*(Layer(nodes // layers - 4) for _ in range(layers)))
    unused = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(PARAMETERS - layers))
    for parameter in unused.parameters():
        parameter.grad = torch.randn_like(parameter)
    while True:
        loss = model(torch.randn(1, WIDTH)).sum()
        print("forward")  # LINE stop
        loss.backward()


if __name__ == "__main__":
    main()

"""A NaN is born in backward: the gradient of sqrt at 0, which `where` hides in forward."""

import torch
from torch import nn


class Distance(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = x.relu()
        root = squares.sqrt()  # LINE born
        return torch.where(squares > 0, root, 0.0)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.distance = Distance()
        self.head = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        distance = self.distance(self.embed(x))  # LINE module called
        return self.head(distance)


def main() -> None:
    torch.manual_seed(0)
    model = Model()
    for step in range(3):
        loss = model(torch.randn(4, 8)).square().mean()
        print("forward", step, float(loss.detach()))  # LINE before backward
        loss.backward()
        model.zero_grad()  # LINE after backward


if __name__ == "__main__":
    main()

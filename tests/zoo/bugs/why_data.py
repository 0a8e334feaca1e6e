"""The recurrent state is scaled through `.data`: nothing flows back into the cell's input map."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "data", parameters=("inputs.weight", "inputs.bias"), name="state")


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.output = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.tanh(self.inputs(x))
        scaled = state.data * 0.5  # bug
        return self.output(scaled)


def train() -> None:
    torch.manual_seed(0)
    model = Cell()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).mean().backward()
        optimizer.step()

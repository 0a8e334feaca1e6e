"""A recurrent layer whose weights are twice too large, without clipping."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("exploding", fix="clip_grad_norm_", says="calls of step", also=("update ratio",))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(16, 16, bias=False)
        nn.init.orthogonal_(self.step.weight, gain=2.0)
        self.head = nn.Linear(16, 1)

    def forward(self, hidden: torch.Tensor, positions: int) -> torch.Tensor:
        for _ in range(positions):
            hidden = self.step(hidden)  # bug
        return self.head(hidden)


def train() -> None:
    torch.manual_seed(0)
    model = Decoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(8, 16), 20).mean().backward()
        optimizer.step()

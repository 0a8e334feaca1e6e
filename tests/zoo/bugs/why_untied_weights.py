"""Input and output were to share the embedding, and share a copy of it that does not train."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("unreached", "detached", parameters=("embed.weight",), fix="Remove the detach")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(12, 8), nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        table = self.embed.weight.detach().clone()  # bug
        hidden = self.mix(table[tokens])
        return hidden @ table.T


def train() -> None:
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        tokens = torch.randint(0, 12, (6,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens), tokens).backward()
        optimizer.step()

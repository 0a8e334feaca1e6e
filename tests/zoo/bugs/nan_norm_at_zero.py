"""The distance of two equal embeddings, written out."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("nan", cause="norm at 0", parameters=("embedding.weight",))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.embedding(x[:, 0]), self.embedding(x[:, 1])
        return ((left - right) ** 2).sum(-1).sqrt()  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.tensor([[0, 1], [2, 2], [3, 1]])).sum()
        loss.backward()
        optimizer.step()

"""Most rows of an embedding have no gradient in most steps, and its gradient is sparse."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.expected import Silence

EXPECTED = Silence(but_not=("dead units", "zero gradient"))


def train() -> None:
    torch.manual_seed(0)
    embedding = nn.EmbeddingBag(5000, 8, sparse=True)
    head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    sparse = torch.optim.SparseAdam(embedding.parameters(), lr=1e-2)
    dense = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(20):
        embedding.zero_grad()
        head.zero_grad()
        loss = cross_entropy(head(embedding(torch.randint(0, 5000, (16, 3)))), torch.randint(0, 4, (16,)))
        loss.backward()
        sparse.step()
        dense.step()

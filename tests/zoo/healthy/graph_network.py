"""A graph network: messages along edges are added up at their targets, and graphs are read out by their mean."""

import torch
from torch import nn
from torch.nn.functional import relu

from zoo.expected import Silence

EXPECTED = Silence()


class Messages(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(2 * width, width), nn.GRUCell(width, width)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        sent = relu(self.message(torch.cat([x[source], x[target]], -1)))
        return self.update(torch.zeros_like(x).index_add_(0, target, sent), x)


class GraphNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.atoms = nn.Embedding(6, 16)
        self.layers = nn.ModuleList(Messages(16) for _ in range(3))
        self.read = nn.Linear(16, 1)

    def forward(self, atoms: torch.Tensor, edges: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        x = self.atoms(atoms)
        for layer in self.layers:
            x = layer(x, edges)
        count = int(graph.max()) + 1
        sums = torch.zeros(count, x.shape[1]).scatter_add(0, graph[:, None].expand_as(x), x)
        return self.read(sums / graph.bincount(minlength=count)[:, None]).squeeze(-1)


def train() -> None:
    torch.manual_seed(0)
    model = GraphNetwork()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        atoms, edges = torch.randint(6, (40,)), torch.randint(40, (2, 120))
        graph = torch.arange(40) // 10
        loss = (model(atoms, edges, graph) - torch.randn(4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

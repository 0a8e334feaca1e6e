"""An auxiliary head is computed in every step and its loss is never added: what it saved waits for nothing."""

import torch
from torch import nn

from zoo.expected import Expected

EXPECTED = Expected("saved unused", name="auxiliary", also=("unreached",))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 256)
        self.head = nn.Linear(256, 10)
        self.auxiliary = nn.Linear(256, 512)

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(batch))
        logits = self.head(hidden)
        return logits, torch.softmax(self.auxiliary(hidden), -1).log()  # bug


def train() -> None:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch, labels = torch.randn(1024, 64), torch.randint(0, 10, (1024,))
    for _ in range(3):
        logits, auxiliary = model(batch)
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert auxiliary.shape == (1024, 512)

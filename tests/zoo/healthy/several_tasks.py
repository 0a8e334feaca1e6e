"""Two tasks of one trunk, weighted by learned uncertainties, over accumulated batches with a cosine schedule."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from zoo.expected import Silence

EXPECTED = Silence()


class Tasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Dropout(0.2))
        self.kind, self.size = nn.Linear(32, 4), nn.Linear(32, 1)
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.trunk(x)
        return self.kind(hidden), self.size(hidden).squeeze(-1)


def train() -> None:
    torch.manual_seed(0)
    model = Tasks()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for _ in range(12):
        optimizer.zero_grad()
        for _ in range(2):
            x = torch.randn(16, 12)
            kind, size = model(x)
            losses = torch.stack([cross_entropy(kind, x[:, :4].argmax(1)), mse_loss(size, x.sum(1))])
            loss = (losses * (-model.log_variances).exp() + model.log_variances).sum() / 2
            loss.backward()
        optimizer.step()
        schedule.step()

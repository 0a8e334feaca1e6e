"""A part of a model that never learns.

gradwatch why says, of line 22:
    2 parameters without a gradient. encoder.0.weight and encoder.0.bias get no gradient in any of 10 steps:
    Tensor.detach takes features off the graph. Fix: Remove the detach, or freeze these parameters with
    requires_grad_(False) if this is meant.
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from torch import nn


class Captioner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.GELU())
        self.decoder = nn.Linear(32, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.encoder(image).detach()
        return self.decoder(features)


torch.manual_seed(0)
model = Captioner()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(10):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(torch.randn(4, 16)), torch.randn(4, 8))
    loss.backward()
    optimizer.step()

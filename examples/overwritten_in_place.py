"""An error of backward(), "modified by an inplace operation": which line saved the tensor, and which overwrote it.

gradwatch why says, of line 23:
    gate was overwritten before backward. Mul saved gate for its backward, and Tensor.add_ changed it in place: then
    backward raised. Fix: Write gate = gate + 0.1, which makes a new tensor.
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from torch import nn


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(16, 16)
        self.gate = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(x))
        value = self.value(x) * gate
        gate += 0.1
        return value + gate


torch.manual_seed(0)
model = Gated()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(8, 16)).square().mean().backward()
    optimizer.step()

"""The loss is NaN: attention in which padding leaves one row nothing to look at.

gradwatch why says, of line 24:
    NaN born in softmax. NaN was born in the forward of softmax of model at step 0: a row of its input is -inf
    throughout, so that it divides 0 by 0; the loss is nan. Fix: Leave every row at least one value, or mask with
    `torch.finfo(x.dtype).min` instead of -inf and set such rows to 0 after the softmax.
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        scores = scores.masked_fill(~seen, float("-inf"))
        weights = torch.softmax(scores, dim=-1)
        return weights @ x


torch.manual_seed(0)
model = Attention()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(5):
    x, seen = torch.randn(2, 6, 16), torch.ones(2, 6, 6).bool()
    seen[1, 4:] = False
    optimizer.zero_grad()
    model(x, seen).square().mean().backward()
    optimizer.step()

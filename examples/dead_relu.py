"""The loss stands still: after a step that was too large no unit of a ReLU fires any more.

gradwatch why says, of line 22:
    Dead units in hidden. All of the 64 units of hidden had no gradient in any of 16 steps: the ReLU after hidden
    gives 0 for every input. Fix: Lower the learning rate, start hidden.bias at 0, or use LeakyReLU or GELU after it.
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 64)
        self.act = nn.ReLU()
        self.head = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.hidden(x)))


torch.manual_seed(0)
model = Net()
with torch.no_grad():
    model.hidden.bias.fill_(-20.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    x = torch.randn(32, 16)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
    optimizer.step()

"""Memory grows with every step: losses are kept for a plot, and each keeps its graph.

gradwatch why says, of line 23:
    losses[14] keeps graphs alive. 15 graphs of steps 0 to 14 are still alive at step 17, 1 more each step:
    losses[14] keeps a tensor with its graph. Fix: Keep the number, not the graph: losses.append(loss.item()).
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
losses = []
for _ in range(20):
    optimizer.zero_grad()
    x = torch.randn(32, 16)
    loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
    loss.backward()
    optimizer.step()
    losses.append(loss)
print(f"mean loss {sum(losses) / len(losses):.3f}")

"""Train a small net in a loop of one's own, with accelerate.

To record it as it is: gradwatch run examples/accelerate_loop.py. One line records a part of a program:
with gradwatch.watch(model): before the loop
"""

# A script as users write one; torch's methods are untyped.
# pyright: basic
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

set_seed(0)
accelerator = Accelerator(gradient_accumulation_steps=2, mixed_precision="bf16")
inputs = torch.randn(64, 8)
batches = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=8)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
model, optimizer, batches = accelerator.prepare(model, optimizer, batches)

for epoch in range(3):
    for features, targets in batches:
        with accelerator.accumulate(model):
            loss = nn.functional.mse_loss(model(features), targets)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    print(f"epoch {epoch}: loss {loss.item():.3f}")

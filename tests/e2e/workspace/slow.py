"""So much to read at a stop that the answer takes as long as it may: many values in little memory."""

import torch

weight = torch.ones(3, requires_grad=True)
weight.square().sum().backward()  # LINE little to read
values, gradients = torch.ones(2, 17_000_000)
many = [values[start : start + 16_000_000].detach().requires_grad_() for start in range(900)]
for start, each in enumerate(many):
    each.grad = gradients[start : start + 16_000_000]
total = 0  # LINE much to read
total += 1
print(total)

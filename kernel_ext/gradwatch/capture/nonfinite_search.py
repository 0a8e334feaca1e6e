"""Finds the first NaN or Inf of a tensor, block by block in its own order, until the time ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradwatch.capture.budget import OVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from gradwatch.capture.budget import Budget

BLOCK_BYTES = 1 << 20
"""What one step may allocate on the tensor's device."""


def first_nonfinite(tensor: Tensor, budget: Budget) -> list[int] | None:
    """The full index of the first value that is not finite; None where there is none, or the budget ended.

    The budget then says how many values were looked at. Waits for the device once a block.
    """
    if not (tensor.dtype.is_floating_point or tensor.is_complex()):
        return None
    done = 0
    for start, block in blocks(tensor.detach(), BLOCK_BYTES // max(4, tensor.element_size())):
        if budget.is_over():
            budget.misses("values", f"the search for NaN and Inf stopped: {OVER}", done, tensor.numel())
            return None
        bad = ~torch.isfinite(block if block.element_size() > 1 else block.to(torch.float32))
        if bad.any().item():
            inside = [int(at) for at in bad.nonzero()[0]]
            return [at + offset for at, offset in zip(start, [0] * (len(start) - len(inside)) + inside, strict=True)]
        done += block.numel()
    return None


def blocks(tensor: Tensor, limit: int) -> Iterator[tuple[list[int], Tensor]]:
    """Views that together are `tensor`, in its order, each with the index of its first value and at most `limit`."""
    if not tensor.numel():
        return
    if tensor.dim() == 0:
        yield [], tensor
        return
    inner = tensor[0].numel()
    size = tensor.shape[0]
    if inner > limit:
        for i in range(size):
            yield from (([i, *start], block) for start, block in blocks(tensor[i], limit))
        return
    step = max(1, limit // inner)
    for first in range(0, size, step):
        yield [first, *[0] * (tensor.dim() - 1)], tensor[first : first + step]

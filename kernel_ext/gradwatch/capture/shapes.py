"""Sizes as records hold them: nested tensors have some that are symbols, or none that they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def sizes_of(shape: Any) -> tuple[int, ...]:
    """The sizes of a shape, -1 for one that is a symbol: it differs from row to row of a jagged tensor."""
    return tuple(size if type(size) is int else -1 for size in shape)


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The tensor's shape. A strided nested tensor has none that it tells: its elements in one row."""
    if tensor.is_nested and not hasattr(tensor, "__tensor_flatten__"):
        return (tensor.numel(),)
    return sizes_of(tensor.shape)


def shape_of_metadata(metadata: Any) -> tuple[int, ...]:
    """The shape of a node's output; () where it is nested and tells none."""
    try:
        return sizes_of(metadata.shape)
    except RuntimeError:
        return ()

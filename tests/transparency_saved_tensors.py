"""Programs that use saved-tensor hooks and checkpoints of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.utils.checkpoint import checkpoint

from transparency_cases import Cases, leaf, network_of_two_layers

SAVED_TENSORS = Cases()

# Saved-tensor hooks of the program


@SAVED_TENSORS.add
def saved_tensor_hooks_of_the_program() -> object:
    seen: list[str] = []

    def pack(tensor: Tensor) -> tuple[str, Tensor]:
        seen.append(f"pack {tuple(tensor.shape)}")
        return "packed", tensor * 2

    def unpack(packed: tuple[str, Tensor]) -> Tensor:
        seen.append(packed[0])
        return packed[1] / 2

    x = leaf(3)
    before = x.exp()
    with saved_tensors_hooks(pack, unpack):
        within = before.sin() * x
    within.tanh().sum().backward()
    return x.grad, seen


@SAVED_TENSORS.add
def nested_saved_tensor_hooks() -> object:
    seen: list[str] = []

    def pair(name: str) -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda t: (seen.append(f"pack {name}"), t)[1], lambda t: t)

    x = leaf(3)
    with pair("outer"):
        y = x.exp()
        with pair("inner"):
            z = y.sin()
        w = z.cos()
    w.sum().backward()
    return x.grad, seen


@SAVED_TENSORS.add
def hooks_on_one_saved_tensor() -> object:
    x = leaf(3)
    y = x.sin()
    saved: Any = y.grad_fn
    saved._raw_saved_self.register_hooks(lambda t: t * 2, lambda t: t)
    y.sum().backward()
    return x.grad


@SAVED_TENSORS.add
def saved_tensors_on_the_cpu() -> object:
    network, x = network_of_two_layers(), leaf(2, 3)
    with save_on_cpu():
        loss = network(x).exp().sum()
    loss.backward()
    return x.grad


@SAVED_TENSORS.add
def mutation_that_is_allowed() -> object:
    x = leaf(3)
    with allow_mutation_on_saved_tensors():
        y = x.clone()
        z = y.sin()
        y.mul_(2)
        z.sum().backward()
    return x.grad


@SAVED_TENSORS.add
def hooks_that_the_program_forbids() -> object:
    x = leaf(3)
    with disable_saved_tensors_hooks("not here"):
        x.exp().sum().backward()
        with saved_tensors_hooks(lambda t: t, lambda t: t):
            x.exp()
    return x.grad


@SAVED_TENSORS.add
def hooks_that_are_forbidden_for_a_while() -> object:
    x, seen = leaf(3), list[int]()
    with disable_saved_tensors_hooks("not here"), disable_saved_tensors_hooks("nor here"):
        within = x.exp()
    with saved_tensors_hooks(lambda t: (seen.append(1), t)[1], lambda t: t):
        (within * x.sin()).sum().backward()
    return x.grad, seen


@SAVED_TENSORS.add
def a_pack_hook_that_raises() -> object:
    def pack(tensor: Tensor) -> Tensor:
        raise ValueError("cannot pack")

    with saved_tensors_hooks(pack, lambda t: t):
        return leaf(3).exp()


@SAVED_TENSORS.add
def an_unpack_hook_that_raises() -> object:
    def unpack(packed: Tensor) -> Tensor:
        raise ValueError("cannot unpack")

    with saved_tensors_hooks(lambda t: t, unpack):
        y = leaf(3).exp()
    return y.sum().backward()


# Checkpoints


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).exp()


def _checkpointed(*, use_reentrant: bool) -> object:
    blocks, x = [_Block(), _Block()], leaf(4, 3)
    y: Any = x
    for block in blocks:
        y = checkpoint(block, y, use_reentrant=use_reentrant)
    y.sin().sum().backward()
    return x.grad, [parameter.grad for block in blocks for parameter in block.parameters()], torch.get_rng_state()


@SAVED_TENSORS.add
def checkpoint_without_reentry() -> object:
    return _checkpointed(use_reentrant=False)


@SAVED_TENSORS.add
def checkpoint_with_reentry() -> object:
    return _checkpointed(use_reentrant=True)


@SAVED_TENSORS.add
def checkpoint_within_a_checkpoint() -> object:
    inner, x = _Block(), leaf(4, 3)

    def outer(value: Tensor) -> Any:
        return checkpoint(inner, value.sin(), use_reentrant=False)

    loss: Any = checkpoint(outer, x, use_reentrant=False)
    loss.sum().backward()
    return x.grad


@SAVED_TENSORS.add
def checkpoint_that_does_not_repeat_itself() -> object:
    calls: list[int] = []

    def unsteady(value: Tensor) -> Tensor:
        calls.append(1)
        return value.sin() if len(calls) == 1 else value.sin().exp().cos()

    loss: Any = checkpoint(unsteady, leaf(3), use_reentrant=False)
    return loss.sum().backward()


@SAVED_TENSORS.add
def checkpoint_under_hooks_of_the_program() -> object:
    x = leaf(4, 3)
    with saved_tensors_hooks(lambda t: t * 1, lambda t: t):
        loss: Any = checkpoint(_Block(), x, use_reentrant=False)
    loss.sum().backward()
    return x.grad

"""Forwards that checkpoint, offload, or hook what autograd saves: each gives a loss of a model of two layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.nn import functional
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE, ROWS = 48, 32
FLOAT = 4
ACTIVATION = ROWS * SIDE * FLOAT
"""Bytes of what a layer gives."""


class Model(nn.Module):
    """Two layers, and whatever a forward does with them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE, SIDE)
        self.second = nn.Linear(SIDE, SIDE)

    def forward(self, run: Callable[[Model], Tensor]) -> Tensor:
        return run(self)

    def block(self, x: Tensor) -> Tensor:
        return functional.dropout(self.second(x).tanh(), 0.5).sin()

    def hidden(self) -> Tensor:
        return self.first(torch.rand(ROWS, SIDE))


class Forward(NamedTuple):
    """A forward, how often it copies the state of the RNG (which no dispatch mode sees), and how it is labelled."""

    run: Callable[[Model], Tensor]
    rng_states: int = 0
    labels: frozenset[str] = frozenset()


class Forwards(dict[str, Forward]):
    """Forwards by name."""

    def add(self, *labels: str, rng_states: int = 0) -> Callable[[Callable[[Model], Tensor]], None]:
        """Add what is decorated."""

        def hold(run: Callable[[Model], Tensor]) -> None:
            self[run.__name__] = Forward(run, rng_states, frozenset(labels))

        return hold


def again(function: Any, *arguments: Any, **options: Any) -> Any:
    """A checkpoint without reentry."""
    return checkpoint(function, *arguments, use_reentrant=False, **options)


# Reentrant checkpoints

REENTRANT = Forwards()


def reenter(function: Any, *arguments: Any, **options: Any) -> Any:
    return checkpoint(function, *arguments, use_reentrant=True, **options)


@REENTRANT.add("checkpointed", rng_states=3)
def three_blocks_with_dropout(model: Model) -> Tensor:
    x = model.hidden()
    for _ in range(3):
        x = reenter(model.block, x)
    return x.sum()


@REENTRANT.add("checkpointed")
def without_the_state_of_the_rng(model: Model) -> Tensor:
    return reenter(lambda x: model.second(x).exp(), model.hidden(), preserve_rng_state=False).sum()


@REENTRANT.add("checkpointed", rng_states=1)
def one_within_another(model: Model) -> Tensor:
    return reenter(lambda x: reenter(model.block, x.sin()), model.hidden()).sum()


@REENTRANT.add("checkpointed", rng_states=1)
def a_tensor_in_its_closure(model: Model) -> Tensor:
    mask = torch.rand(ROWS, SIDE)
    return reenter(lambda x: model.second(x) * mask, model.hidden()).sum()


@REENTRANT.add("checkpointed", rng_states=2)
def a_sequence_in_segments(model: Model) -> Tensor:
    layers = nn.Sequential(model.first, nn.Tanh(), nn.Dropout(0.3), model.second, nn.Tanh(), model.second)
    result: Any = checkpoint_sequential(layers, 3, torch.rand(ROWS, SIDE, requires_grad=True), use_reentrant=True)
    return result.sum()


@REENTRANT.add("checkpointed", rng_states=1)
def reentry_under_autocast(model: Model) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return reenter(model.block, model.hidden()).float().sum()


# Checkpoints without reentry

NON_REENTRANT = Forwards()


@NON_REENTRANT.add("checkpointed", rng_states=3)
def three_blocks(model: Model) -> Tensor:
    x = model.hidden()
    for _ in range(3):
        x = again(model.block, x)
    return x.sum()


@NON_REENTRANT.add("checkpointed")
def without_an_rng_state(model: Model) -> Tensor:
    return again(lambda x: model.second(x).exp(), model.hidden(), preserve_rng_state=False).sum()


@NON_REENTRANT.add("checkpointed", rng_states=2)
def nested(model: Model) -> Tensor:
    return again(lambda x: again(model.block, x.sin()), model.hidden()).sum()


@NON_REENTRANT.add("checkpointed", rng_states=3)
def nested_with_nothing_between(model: Model) -> Tensor:
    return again(lambda x: again(lambda y: again(model.block, y), x), model.hidden()).sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def that_runs_to_its_end(model: Model) -> Tensor:
    with set_checkpoint_early_stop(enable=False):
        return again(model.block, model.hidden()).sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def that_checks_nothing(model: Model) -> Tensor:
    return again(model.block, model.hidden(), determinism_check="none").sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def with_keywords(model: Model) -> Tensor:
    mask = torch.rand(ROWS, SIDE)
    return again(lambda x, mask: model.second(x) * mask, model.hidden(), mask=mask).sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def with_a_closure(model: Model) -> Tensor:
    x = model.hidden()
    return again(lambda: model.second(x).exp()).sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def with_a_partial_of_a_partial(model: Model) -> Tensor:
    scaled = partial(torch.mul, torch.rand(ROWS, SIDE))
    return again(partial(lambda scale, x: model.second(scale(x)).exp(), scaled), model.hidden()).sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def with_a_structure_of_inputs(model: Model) -> Tensor:
    return again(lambda inputs: model.second(inputs["x"]).exp(), {"x": model.hidden()}).sum()


@NON_REENTRANT.add("checkpointed", rng_states=2)
def sequence_in_segments(model: Model) -> Tensor:
    layers = nn.Sequential(model.first, nn.Tanh(), nn.Dropout(0.3), model.second, nn.Tanh(), model.second)
    result: Any = checkpoint_sequential(layers, 3, torch.rand(ROWS, SIDE, requires_grad=True), use_reentrant=False)
    return result.sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def under_autocast(model: Model) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return again(model.block, model.hidden()).float().sum()


@NON_REENTRANT.add("checkpointed", rng_states=1)
def with_a_gradient_inside(model: Model) -> Tensor:
    def inner(x: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(model.second(x).exp().sum(), x, create_graph=True)
        return gradient * x

    with set_checkpoint_early_stop(enable=False):
        return again(inner, model.hidden()).sum()


# Selective checkpoints

SELECTIVE = Forwards()


def selecting(policy: Any) -> Any:
    return partial(create_selective_checkpoint_contexts, policy)


@SELECTIVE.add("checkpointed", rng_states=1)
def ops_that_are_saved(model: Model) -> Tensor:
    contexts = selecting([torch.ops.aten.addmm.default])
    return again(lambda x: model.second(model.block(x)).exp(), model.hidden(), context_fn=contexts).sum()


@SELECTIVE.add("checkpointed", rng_states=1)
def a_policy_that_saves_every_other(model: Model) -> Tensor:
    seen: list[object] = []

    def policy(_context: object, op: object, *_arguments: object, **_options: object) -> CheckpointPolicy:
        seen.append(op)
        return CheckpointPolicy.MUST_SAVE if len(seen) % 2 else CheckpointPolicy.PREFER_RECOMPUTE

    return again(model.block, model.hidden(), context_fn=selecting(policy)).sum()


@SELECTIVE.add("checkpointed", rng_states=1)
def a_policy_that_saves_nothing(model: Model) -> Tensor:
    return again(model.block, model.hidden(), context_fn=selecting([])).sum()


# Offloaded to the CPU

OFFLOADED = Forwards()


@OFFLOADED.add("offloaded")
def all_of_it(model: Model) -> Tensor:
    with save_on_cpu(pin_memory=False):
        return model.block(model.hidden()).sum()


@OFFLOADED.add("offloaded", "checkpointed", rng_states=1)
def a_checkpoint_inside(model: Model) -> Tensor:
    with save_on_cpu():
        return again(model.block, model.hidden()).sum()


@OFFLOADED.add("offloaded")
def inside_a_checkpoint(model: Model) -> Tensor:
    def offloading(x: Tensor) -> Tensor:
        with save_on_cpu():
            return model.block(x)

    return again(offloading, model.hidden()).sum()


# Hooks of the program

HOOKED = Forwards()


@HOOKED.add("user hooks")
def that_copy(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        return model.block(model.hidden()).sum()


@HOOKED.add("user hooks")
def that_keep_the_tensor(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        return model.second(model.hidden().sin()).cos().sum()


@HOOKED.add("user hooks")
def that_halve_into_a_dict(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: {"kept": t.half(), "type": t.dtype}, lambda kept: kept["kept"].to(kept["type"])):
        return model.block(model.hidden()).sum()


class Kept:
    """What a program might pack a tensor into."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@HOOKED.add("user hooks")
def that_keep_an_object(model: Model) -> Tensor:
    with saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        return model.block(model.hidden()).sum()


@HOOKED.add("user hooks")
def that_keep_a_file(model: Model) -> Tensor:
    """In the working directory."""

    def pack(tensor: Tensor) -> str:
        path = f"{len(list(Path.cwd().glob('*.pt')))}.pt"
        torch.save(tensor.detach(), path)
        return path

    with saved_tensors_hooks(pack, torch.load):
        return model.block(model.hidden()).sum()


@HOOKED.add("user hooks")
def several_nested(model: Model) -> Tensor:
    def scaled(by: float) -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda t: (by, t * by), lambda packed: packed[1] / packed[0])

    x = model.hidden()
    with scaled(2.0):
        x = model.second(x).exp()
        with scaled(4.0), scaled(8.0):
            x = x.sin()
        x = x.cos()
    return x.exp().sum()


@HOOKED.add("user hooks", "checkpointed", rng_states=1)
def around_a_checkpoint(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: ("kept", t.clone()), lambda packed: packed[1]):
        return again(model.block, model.hidden()).sum()


@HOOKED.add("user hooks", "checkpointed", rng_states=1)
def around_a_reentrant_checkpoint(model: Model) -> Tensor:
    with saved_tensors_hooks(lambda t: ("kept", t.clone()), lambda packed: packed[1]):
        return reenter(model.block, model.hidden()).sum()


FORBIDDEN = Forwards()


@FORBIDDEN.add()
def all_hooks(model: Model) -> Tensor:
    with disable_saved_tensors_hooks("not here"):
        return model.block(model.hidden()).sum()


@FORBIDDEN.add()
def hooks_for_a_while(model: Model) -> Tensor:
    x = model.hidden()
    with disable_saved_tensors_hooks("not here"), disable_saved_tensors_hooks("nor here"):
        x = model.second(x).exp()
    return x.sin().sum()


# Changes in place that are allowed


def changed_in_place(model: Model) -> Tensor:
    """Runs within allow_mutation_on_saved_tensors, as its backward must."""
    x = model.hidden().exp()
    y = model.second(x).sin()
    x.mul_(2)
    x.view(-1)[0] = 3
    y.add_(1)
    return (x * y).cos().sum()


ALLOWED = allow_mutation_on_saved_tensors

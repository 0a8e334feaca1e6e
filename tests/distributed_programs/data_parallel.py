"""DistributedDataParallel in its variants, each against plain models that see one rank's batches."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from ranks import DETAILS, Norms, Rank, assert_norms, main, norms, own_norms
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ranks import Regime, Watching

    from gradwatch import Session

BATCH, STEPS = 6, 3


class Net(nn.Module):
    """Two branches, of which a batch may use one, behind a layer that all use."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(4, 8)
        self.left = nn.Linear(8, 2)
        self.right = nn.Linear(8, 2)

    def forward(self, batch: Tensor, *, left_alone: bool = False) -> Tensor:
        hidden = self.first(batch).relu()
        left = self.left(hidden)
        return left if left_alone else left + self.right(hidden)


def named(prefix: str, found: Norms) -> Norms:
    return {f"{prefix}{name}": value for name, value in found.items()}


def train(  # noqa: PLR0913 # what makes a variant
    rank: Rank,
    watching: Watching,
    *,
    micro_batches: int = 1,
    sync_all: bool = False,
    left_on: tuple[int, ...] = (),
    watched: Callable[[Any, Any], Any] = lambda wrapper, _: wrapper,
    hook: Any = None,
    set_to_none: bool = True,
    clip: bool = False,
    after: list[Norms] | None = None,
    **options: Any,
) -> object:
    """Train a wrapped Net. `after` gets the norms of `.grad` after each backward call."""
    inner = Net()
    wrapper = DistributedDataParallel(inner, **options)
    if hook is not None:
        wrapper.register_comm_hook(None, hook)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1, momentum=0.9)
    losses: list[Tensor] = []
    with watching(watched(wrapper, inner)):
        for step in range(STEPS):
            for micro in range(micro_batches):
                last = sync_all or micro == micro_batches - 1
                with nullcontext() if last else wrapper.no_sync():
                    batch = rank.batch(10 * step + micro, BATCH, 4)
                    loss = wrapper(batch, left_alone=rank.number in left_on).square().mean()
                    loss.backward()
                losses.append(loss.detach())
                if after is not None:
                    after.append(norms(inner))
            if clip:
                torch.nn.utils.clip_grad_norm_(inner.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad(set_to_none=set_to_none)
    return losses, [parameter.detach() for parameter in inner.parameters()]


def own(rank: Rank, step: int, micro: int, weights: nn.Module, *, left_alone: bool) -> Norms:
    batch = rank.batch(10 * step + micro, BATCH, 4)
    return own_norms(weights, lambda model: model(batch, left_alone=left_alone).square().mean())


def variant(rank: Rank, prefix: str = "module.", **options: Any) -> None:
    """Check a variant at every detail: `.grad` after each call, and this rank's own gradient of it."""
    left_alone = rank.number in options.get("left_on", ())
    for detail in DETAILS:
        after: list[Norms] = []
        session = rank.check(partial(checked_program, rank, after, options), detail)
        own_of_first_step = [
            own(rank, 0, micro, Net(), left_alone=left_alone) for micro in range(options.get("micro_batches", 1))
        ]
        check_calls(session, after[len(after) // 2 :], own_of_first_step, prefix)
        if detail != "parameters":
            check_held(session)


def checked_program(rank: Rank, after: list[Norms], options: dict[str, Any], watching: Watching) -> object:
    return train(rank, watching, after=after, **options)


def check_calls(session: Session, after: list[Norms], own_of_first_step: list[Norms], prefix: str) -> None:
    micro_batches = len(own_of_first_step)
    assert len(session.steps) == STEPS
    for index, expected in enumerate(after):
        step, call = divmod(index, micro_batches)
        assert_norms(session, step, call, named(prefix, expected))
    for call, expected in enumerate(own_of_first_step):
        assert_norms(session, 0, call, named(prefix, expected), "local")
    for step in session.steps:
        for call in range(micro_batches):
            rows = session.gradients_at(step.number, "local", micro_batches=True).of_backward(call)
            assert sorted(rows.names) == sorted(named(prefix, own_of_first_step[call]))
    assert sorted(session.parameters.names) == sorted(named(prefix, dict.fromkeys(dict(Net().named_parameters()), 0.0)))


def check_held(session: Session) -> None:
    """The batch (6x4), the result of ReLU (6x8) and that of the sum or of the one branch (6x2), in float32."""
    for step in session.steps:
        for call in step.backwards:
            assert call.held_bytes == 4 * (BATCH * 4 + BATCH * 8 + BATCH * 2), call.held_bytes
            seen = session.held(step.number, call.index)
            assert seen.total_bytes == seen.peak_bytes == call.held_bytes


def plain(rank: Rank) -> None:
    variant(rank)


def before_wrapping(rank: Rank) -> None:
    """Recorded from before the model is wrapped, by its inner module."""
    variant(rank, prefix="", watched=lambda _, inner: inner)


def without_a_model(rank: Rank) -> None:
    variant(rank, prefix="", watched=lambda _wrapper, _inner: None)


def accumulation(rank: Rank) -> None:
    variant(rank, micro_batches=3)


def several_reductions(rank: Rank) -> None:
    variant(rank, micro_batches=2, sync_all=True)


def bucket_views(rank: Rank) -> None:
    variant(rank, gradient_as_bucket_view=True, micro_batches=2)
    variant(rank, gradient_as_bucket_view=True, set_to_none=False)


def unused_parameters(rank: Rank) -> None:
    variant(rank, find_unused_parameters=True, left_on=(0,))
    variant(rank, find_unused_parameters=True, left_on=(0,), gradient_as_bucket_view=True, set_to_none=False)
    variant(rank, find_unused_parameters=True, left_on=(0, 1), micro_batches=2)


def static_graph(rank: Rank) -> None:
    variant(rank, static_graph=True)


def small_buckets(rank: Rank) -> None:
    variant(rank, bucket_cap_mb=0.0001)


def comm_hooks(rank: Rank) -> None:
    variant(rank, hook=default_hooks.fp16_compress_hook)


def clipped(rank: Rank) -> None:
    variant(rank, clip=True)


def wrapped_late(rank: Rank) -> None:
    """The first step is plain, then the model is wrapped: local gradients from the second on."""
    for detail in DETAILS:
        for watched in (True, False):
            session = rank.check(partial(wraps_late, rank, watched=watched), detail)
            seen = [len(session.gradients_at(step.number, "local")) for step in session.steps]
            assert seen == [0, 6, 6], (detail, watched, seen)
            batch = rank.batch(0, BATCH, 4)
            assert_norms(session, 0, 0, own_norms(Net(), lambda model, batch=batch: model(batch).square().mean()))
            assert sorted(session.parameters.names) == sorted(dict(Net().named_parameters()))


def wraps_late(rank: Rank, watching: Watching, *, watched: bool) -> object:
    model: nn.Module = Net()
    inner = model
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    with watching(inner if watched else None):
        for step in range(STEPS):
            if step == 1:
                model = DistributedDataParallel(inner)
            model(rank.batch(step, BATCH, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach() for parameter in inner.parameters()]


def uneven(rank: Rank) -> None:
    """Rank 1 has fewer batches than rank 0, and joins in its reductions."""
    for detail in DETAILS:
        after: list[Norms] = []
        session = rank.check(partial(joins, rank, after), detail)
        mine = after[len(after) // 2 :]
        assert len(session.steps) == len(mine) == STEPS - rank.number
        for step, expected in enumerate(mine):
            assert_norms(session, step, 0, named("module.", expected))
        assert_norms(session, 0, 0, named("module.", own(rank, 0, 0, Net(), left_alone=False)), "local")


def joins(rank: Rank, after: list[Norms], watching: Watching) -> object:
    model = DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model), model.join():
        for step in range(STEPS - rank.number):
            model(rank.batch(10 * step, BATCH, 4)).square().mean().backward()
            after.append(norms(model.module))
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]


def several_passes(rank: Rank) -> None:
    """Two backward calls through one forward's graph: DDP reduces in the first, as torch has it."""
    for detail in DETAILS:
        after: list[Norms] = []
        session = rank.check(partial(backward_twice, rank, after), detail)
        mine = after[len(after) // 2 :]
        own_norms_ = named("module.", own(rank, 0, 0, Net(), left_alone=False))
        for call in (0, 1):
            assert_norms(session, 0, call, named("module.", mine[call]))
            assert_norms(session, 0, call, own_norms_, "local")


def backward_twice(rank: Rank, after: list[Norms], watching: Watching) -> object:
    model = DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model):
        loss = model(rank.batch(0, BATCH, 4)).square().mean()
        for again in (True, False):
            loss.backward(retain_graph=again)
            after.append(norms(model.module))
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def redundancy_free(rank: Rank) -> None:
    """ZeroRedundancyOptimizer: each rank updates its share of the parameters, and sends it to the others."""
    for detail in DETAILS:
        session = rank.check(partial(with_zero, rank), detail)
        assert len(session.steps) == STEPS
        for name in session.parameters.names:
            ratios = session.gradient(name).update_ratio
            assert len(ratios) == STEPS, (name, len(ratios))
            assert (ratios > 0).all(), (name, ratios)


def with_zero(rank: Rank, watching: Watching) -> object:
    model = DistributedDataParallel(Net())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.SGD, lr=0.1)
    with watching(model):
        for step in range(STEPS):
            model(rank.batch(step, BATCH, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]


def users_hooks(rank: Rank) -> None:
    """A hook of the program's on a parameter: what it returns is what this rank brings."""
    for detail in DETAILS:
        session = rank.check(partial(hooked, rank), detail)
        expected = own(rank, 0, 0, Net(), left_alone=False)
        expected["first.bias"] *= 3
        assert_norms(session, 0, 0, named("module.", expected), "local")


def hooked(rank: Rank, watching: Watching) -> object:
    inner = Net()
    model = DistributedDataParallel(inner)
    inner.first.bias.register_hook(lambda gradient: 3 * gradient)
    with watching(model):
        model(rank.batch(0, BATCH, 4)).square().mean().backward()
    hooks: Any = inner.first.bias._backward_hooks
    assert len(hooks) == 1
    assert inner.first.weight._backward_hooks is None
    return [parameter.grad for parameter in model.parameters()]


REGIMES: dict[str, Regime] = {
    "plain": plain,
    "inner module": before_wrapping,
    "without a model": without_a_model,
    "accumulation": accumulation,
    "several reductions": several_reductions,
    "bucket views": bucket_views,
    "unused parameters": unused_parameters,
    "static graph": static_graph,
    "small buckets": small_buckets,
    "comm hooks": comm_hooks,
    "clipped": clipped,
    "wrapped late": wrapped_late,
    "uneven": uneven,
    "several passes": several_passes,
    "ZeRO": redundancy_free,
    "users hooks": users_hooks,
}

if __name__ == "__main__":
    main(REGIMES)

"""Sharded parameters: FSDP (versions 2 and 1), tensor parallel, both, and pipelines, against plain models."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from data_parallel import BATCH, STEPS, Net
from ranks import DETAILS, Norms, Rank, assert_norms, main, no_local, norm, norms, own_norms
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ranks import Regime, Watching

    from gradwatch import Session

NAMES = sorted(dict(Net().named_parameters()))


def fully_sharded(mesh: Any = None, **options: Any) -> nn.Module:
    model = Net()
    fully_shard(model.first, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)
    return model


def train(  # noqa: PLR0913 # what makes a variant
    rank: Rank,
    after: list[Norms],
    make: Callable[[], Any],
    watching: Watching,
    *,
    micro_batches: int = 1,
    watched: Callable[[Any], Any] = lambda model: model,
) -> object:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses: list[Tensor] = []
    with watching(watched(model)):
        for step in range(STEPS):
            for micro in range(micro_batches):
                if micro_batches > 1:
                    model.set_requires_gradient_sync(micro == micro_batches - 1)
                loss = model(rank.batch(10 * step + micro, BATCH, 4)).float().square().mean()
                loss.backward()
                losses.append(loss.detach())
                after.append(norms(model))
            optimizer.step()
            optimizer.zero_grad()
    return losses, [parameter.detach() for parameter in model.parameters()]


def own(rank: Rank, micro: int, dtype: torch.dtype = torch.float32) -> Norms:
    batch = rank.batch(micro, BATCH, 4).to(dtype)
    return own_norms(Net().to(dtype), lambda model: model(batch).float().square().mean())


def variant(
    rank: Rank,
    make: Callable[[], nn.Module],
    *,
    dtype: torch.dtype = torch.float32,
    held: int = 4 * BATCH * (4 + 8 + 2),
    **options: Any,
) -> list[Session]:
    """Check a variant at every detail: the part of `.grad` after each call, and this rank's own gradient of it."""
    micro_batches = options.get("micro_batches", 1)
    sessions: list[Session] = []
    for detail in DETAILS:
        after: list[Norms] = []
        session = rank.check(lambda watching, after=after: train(rank, after, make, watching, **options), detail)
        sessions.append(session)
        assert len(session.steps) == STEPS
        assert sorted(session.parameters.names) == NAMES, session.parameters.names
        for index, expected in enumerate(after[len(after) // 2 :]):
            assert_norms(session, *divmod(index, micro_batches), expected)
        for call in range(micro_batches):
            assert_norms(session, 0, call, own(rank, call, dtype), "local")
        check_names(session)
        if detail != "parameters":
            check_held(session, held)
    return sessions


def check_names(session: Session) -> None:
    for parameter in session.parameters:
        whole = dict(Net().named_parameters())[parameter.name]
        assert parameter.shape == tuple(whole.shape)
        assert parameter.is_sharded
        assert parameter.local_shape[0] == parameter.shape[0] // 2, parameter
        assert parameter.bytes == parameter.numel // 2 * 4
    partial_ = [notice.text for notice in session.notices if notice.kind == "partial" and "DTensor" in notice.text]
    assert len(partial_) == 1, session.notices
    ratios = session.gradient(NAMES[0]).update_ratio
    assert len(ratios) == STEPS
    assert (ratios > 0).all()


def check_held(session: Session, held: int) -> None:
    for step in session.steps:
        for call in step.backwards:
            assert call.held_bytes == held, (step.number, call.held_bytes, held)
            seen = session.held(step.number, call.index)
            assert (seen.total_bytes, seen.peak_bytes) == (held, held)


def fsdp(rank: Rank) -> None:
    variant(rank, fully_sharded)
    variant(rank, fully_sharded, watched=lambda _: None)


def kept_unsharded(rank: Rank) -> None:
    variant(rank, partial(fully_sharded, reshard_after_forward=False))


def mixed_precision(rank: Rank) -> None:
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    # The batch and the results of ReLU and of the sum in bfloat16, and that sum again as float32.
    held = 2 * BATCH * (4 + 8) + 4 * BATCH * 2
    variant(rank, partial(fully_sharded, mp_policy=policy), dtype=torch.bfloat16, held=held)


def accumulated(rank: Rank) -> None:
    variant(rank, fully_sharded, micro_batches=3)


def hybrid(rank: Rank) -> None:
    """Sharded over a mesh of one rank, replicated over both."""
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicate", "shard"))
    for detail in DETAILS:
        after: list[Norms] = []
        make = partial(fully_sharded, mesh=mesh)
        session = rank.check(partial(train, rank, after, make), detail)
        for step, expected in enumerate(after[len(after) // 2 :]):
            assert_norms(session, step, 0, expected)
        assert_norms(session, 0, 0, own(rank, 0), "local")


def started_in_the_middle(rank: Rank) -> None:
    """The recording starts between a forward and its backward, while parameters stand unsharded in their modules."""
    for detail in DETAILS:
        for watched in (True, False):
            session = rank.check(partial(starts_late, rank, watched=watched), detail)
            assert sorted(session.parameters.names) == NAMES, session.parameters.names
            assert len(session.gradients_at(0, "local")) == len(NAMES)
            assert len(session.gradients_at(1, "local")) == len(NAMES)


def starts_late(rank: Rank, watching: Watching, *, watched: bool) -> object:
    model = fully_sharded()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(rank.batch(0, BATCH, 4)).square().mean()
    with watching(model if watched else None):
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model(rank.batch(1, BATCH, 4)).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


class Chain(nn.Module):
    """Two layers, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.up = nn.Linear(4, 8)
        self.act = nn.ReLU()
        self.down = nn.Linear(8, 2)

    def forward(self, batch: Tensor) -> Tensor:
        return self.down(self.act(self.up(batch)))


def common_batch(number: int, rows: int = BATCH) -> Tensor:
    """The same on every rank."""
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(1000 + number))


def tensor_parallel(rank: Rank) -> None:
    mesh = init_device_mesh("cpu", (2,))
    for detail in DETAILS:
        for watched in (True, False):
            after: list[Norms] = []
            program = partial(train_parallel, after, partial(parallelized, mesh), watched=watched)
            session = rank.check(program, detail)
            for step, expected in enumerate(after[len(after) // 2 :]):
                assert_norms(session, step, 0, expected)
            assert_norms(session, 0, 0, parts_of_whole(rank))
            assert no_local(session)
            lies = {each.name: (each.shape, each.local_shape, each.is_sharded) for each in session.parameters}
            assert lies == {
                "up.weight": ((8, 4), (4, 4), True),
                "up.bias": ((8,), (4,), True),
                "down.weight": ((2, 8), (2, 4), True),
                "down.bias": ((2,), (2,), False),
            }
            if detail != "parameters":
                # The batch, this rank's half of the ReLU's result, and the output.
                check_held(session, 4 * BATCH * (4 + 4 + 2))


def parallelized(mesh: Any) -> nn.Module:
    return parallelize_module(Chain(), mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})


def train_parallel(
    after: list[Norms], make: Callable[[], nn.Module], watching: Watching, *, watched: bool = True
) -> object:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[Tensor] = []
    with watching(model if watched else None):
        for step in range(STEPS):
            loss = model(common_batch(step)).square().mean()
            loss.backward()
            losses.append(loss.detach())
            after.append(norms(model))
            optimizer.step()
            optimizer.zero_grad()
    return losses, [parameter.detach() for parameter in model.parameters()]


def parts_of_whole(rank: Rank) -> Norms:
    """This rank's parts of the gradients of the whole model: halves of rows, of columns, and the last bias whole."""
    model = Chain()
    model(common_batch(0)).square().mean().backward()
    mine = {
        "up.weight": gradient_of(model.up.weight).chunk(2)[rank.number],
        "up.bias": gradient_of(model.up.bias).chunk(2)[rank.number],
        "down.weight": gradient_of(model.down.weight).chunk(2, 1)[rank.number],
        "down.bias": gradient_of(model.down.bias),
    }
    return {name: norm(each) for name, each in mine.items()}


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def in_two_dimensions(rank: Rank) -> None:
    """Sharded over data parallel ranks (here one) and tensor parallel ones."""
    mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("data", "tensor"))

    def make() -> nn.Module:
        model = parallelized(mesh["tensor"])
        fully_shard(model, mesh=mesh["data"])
        return model

    for detail in DETAILS:
        after: list[Norms] = []
        session = rank.check(partial(train_parallel, after, make), detail)
        for step, expected in enumerate(after[len(after) // 2 :]):
            assert_norms(session, step, 0, expected)
        assert_norms(session, 0, 0, parts_of_whole(rank))
        assert_norms(session, 0, 0, parts_of_whole(rank), "local")  # of one data parallel rank: nothing to reduce
        if detail != "parameters":
            check_held(session, 4 * BATCH * (4 + 4 + 2))


MICRO_BATCHES = 4


def pipelines(rank: Rank) -> None:
    for schedule in (ScheduleGPipe, Schedule1F1B):
        for detail in DETAILS:
            for watched in (True, False):
                session = rank.check(partial(pipelined, rank, schedule, watched=watched), detail)
                assert len(session.steps) == STEPS
                summed, scaled = sums_of_micro_batches(rank)
                calls = [call for call in session.step(0).backwards if call.call == "backward"]
                for call, expected in zip(calls, summed, strict=True):  # torch asks for the stages' shapes by grad()
                    assert_norms(session, 0, call.index, expected, others=not watched)
                for name, value in scaled.items():
                    used = float(session.gradient(name).gradient_norm_at_step[0])
                    assert abs(used - value) <= 2e-6 * value, (name, used, value)
                if detail != "parameters":
                    # First stage: the whole batch, of which each micro-batch is a view, and its ReLU's result; last
                    # stage: what it received, and its output.
                    held = 4 * (2 * MICRO_BATCHES * 4 + 2 * 8) if rank.number == 0 else 4 * (2 * 8 + 2 * 2)
                    assert {call.held_bytes for step in session.steps for call in step.backwards} == {held}


def stage_of(rank: Rank) -> nn.Sequential:
    whole = Chain()
    return nn.Sequential(whole.up, whole.act) if rank.number == 0 else nn.Sequential(whole.down)


def pipelined(rank: Rank, schedule: Any, watching: Watching, *, watched: bool) -> object:
    module = stage_of(rank)
    stage = PipelineStage(module, rank.number, 2, torch.device("cpu"))
    pipeline = schedule(stage, MICRO_BATCHES, loss_fn=lambda output, _: output.square().mean())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses: list[Tensor] = []
    with watching(module if watched else None):
        for step in range(STEPS):
            if rank.number == 0:
                pipeline.step(common_batch(step, 2 * MICRO_BATCHES))
            else:
                pipeline.step(target=torch.zeros(2 * MICRO_BATCHES, 2), losses=losses)
            optimizer.step()
            optimizer.zero_grad()
    return losses, [parameter.detach() for parameter in module.parameters()]


def sums_of_micro_batches(rank: Rank) -> tuple[list[Norms], Norms]:
    """The accumulated gradients after each micro-batch, of this rank's layers, and what the schedule makes of them."""
    whole = Chain()
    mine = {"0.weight": whole.up.weight, "0.bias": whole.up.bias}
    if rank.number == 1:
        mine = {"0.weight": whole.down.weight, "0.bias": whole.down.bias}
    summed: list[Norms] = []
    for batch in common_batch(0, 2 * MICRO_BATCHES).chunk(MICRO_BATCHES):
        whole(batch).square().mean().backward()
        summed.append({name: norm(gradient_of(each)) for name, each in mine.items()})
    return summed, {name: value / MICRO_BATCHES for name, value in summed[-1].items()}


def flat_sharded(rank: Rank) -> None:
    """FSDP version 1: one flat parameter for many; its own gradient is seen, those of original parameters are not."""
    for original in (False, True):
        for detail in DETAILS:
            after: list[Norms] = []
            make = partial(flat, original=original)
            session = rank.check(partial(train, rank, after, make), detail)
            assert len(session.steps) == STEPS
            for step, expected in enumerate(after[len(after) // 2 :]):
                assert_norms(session, step, 0, expected)
            if detail != "parameters":
                check_held(session, 4 * BATCH * (4 + 8 + 2))
            told = [each.text for each in session.notices if each.kind == "not observable" and "FSDP" in each.text]
            if original:
                assert len(told) == 1
                assert no_local(session)
            else:
                assert told == []
                whole = own(rank, 0)
                in_all = sum(value**2 for value in whole.values()) ** 0.5
                assert_norms(session, 0, 0, {name: in_all for name in session.parameters.names}, "local")  # noqa: C420 # typed


def flat(*, original: bool) -> nn.Module:
    return FullyShardedDataParallel(Net(), use_orig_params=original, device_id=torch.device("cpu"))


REGIMES: dict[str, Regime] = {
    "FSDP": fsdp,
    "kept unsharded": kept_unsharded,
    "mixed precision": mixed_precision,
    "accumulated": accumulated,
    "hybrid": hybrid,
    "started in the middle": started_in_the_middle,
    "tensor parallel": tensor_parallel,
    "two dimensions": in_two_dimensions,
    "pipelines": pipelines,
    "FSDP 1": flat_sharded,
}

if __name__ == "__main__":
    main(REGIMES)

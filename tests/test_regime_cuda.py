"""CUDA: recorded steps never wait for the device, and what is read there is what was there."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import test_regime_optimizers as by_hand
from exactness import calls_of, check_exact
from gradwatch.records import Gradients
from living_storages import without_numbers
from regimes import promise

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from conftest import Record
    from gradwatch import Session
    from gradwatch.records import Detail

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DETAILS: tuple[Detail, ...] = ("parameters", "modules", "nodes")
GPU = "cuda"
WARM = 4
"""Steps before the device may no longer be waited for: kernels are compiled, and buffers allocated, in the first."""


@contextmanager
def no_waiting() -> Generator[None]:
    """Raise wherever torch waits for the device. Inside a hook of ours that becomes a notice."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def waiting_allowed() -> Generator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("default")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def network(width: int = 64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 10)).to(GPU)


def trouble(session: Session) -> list[str]:
    return [notice.text for notice in session.notices if notice.kind == "probe stopped"]


def norms_at(session: Session, step: int) -> list[float]:
    """Norms of the gradients after the step's last call that reached them, in order of size."""
    found: dict[int, float] = {}
    for record in session.reader.records_of_step(Gradients, step):
        if record.subject_kind == "parameter":
            subjects = np.frombuffer(record.subjects.data, "<u4").tolist()
            norms = np.frombuffer(record.columns["l2"].data, record.columns["l2"].dtype).tolist()
            found.update(zip(subjects, norms, strict=True))
    return sorted(found.values())


def norm_of(tensor: Tensor) -> float:
    return tensor.detach().double().norm().item()


class Kept:
    """Losses and gradients of every step, kept on the device."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.gradients: list[dict[str, Tensor]] = []

    def clear(self) -> None:
        self.losses.clear()
        self.gradients.clear()

    def keep(self, loss: Tensor, model: nn.Module) -> None:
        self.losses.append(loss.detach().clone())
        self.gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})

    def check(self, session: Session) -> None:
        """The session has every step's loss and norms."""
        assert [step.number for step in session.steps] == list(range(len(self.losses)))
        for step, loss, gradients in zip(session.steps, self.losses, self.gradients, strict=True):
            assert step.loss == pytest.approx(loss.item(), rel=1e-6, nan_ok=True)
            expected = sorted(norm_of(gradient) for gradient in gradients.values())
            assert norms_at(session, step.number) == pytest.approx(expected, rel=1e-5)


# Never waiting


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD foreach": lambda all_: torch.optim.SGD(all_, lr=0.1, momentum=0.9, foreach=True),
    "Adam fused": lambda all_: torch.optim.Adam(all_, lr=0.01, fused=True),
    "AdamW capturable": lambda all_: torch.optim.AdamW(all_, lr=torch.tensor(0.01, device=GPU), capturable=True),
}


@promise("CUDA", "training steps: no synchronisation with the device, and the loss without one")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recorded_steps_never_wait_for_the_device(record: Record, optimizer: str, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        model = network()
        stepper = OPTIMIZERS[optimizer](model.parameters())
        for step in range(WARM + 8):
            with no_waiting() if step >= WARM else waiting_allowed():
                stepper.zero_grad()
                loss = nn.functional.cross_entropy(
                    model(torch.randn(32, 64, device=GPU)), torch.randint(0, 10, (32,), device=GPU)
                )
                loss.backward()
                kept.keep(loss, model)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                stepper.step()
        return list(model.parameters()), kept.losses, kept.gradients, torch.cuda.get_rng_state()

    session = check_exact(record, program, detail)
    assert trouble(session) == []
    kept.check(session)
    for step in range(len(kept.losses)):
        used = {name: norm for name, (norm, _) in by_hand.used_at(session, step).items()}
        total = math.sqrt(sum(norm**2 for norm in used.values()))
        assert total == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_a_host_that_runs_ahead_does_not_pile_steps_up(record: Record, detail: Detail) -> None:
    """Steps are written while training goes on: tables on the device do not grow with the number of steps."""
    grown: list[int] = []

    def program() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(200):
            for _ in range(3):
                model(torch.randn(8, 64, device=GPU)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step in {20, 199}:
                torch.cuda.synchronize()
                grown.append(torch.cuda.memory_allocated())

    session = record(program, detail=detail)
    assert trouble(session) == []
    assert len(session.steps) == 200
    assert grown[1] - grown[0] < 4 << 20


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_loss_is_its_value_on_the_device(record: Record, dtype: torch.dtype) -> None:
    values = [1.5, 0.1, float("nan"), float("inf"), float("-inf"), 0.0]

    def program() -> None:
        for value in values:
            leaf = torch.ones((), device=GPU, dtype=dtype, requires_grad=True)
            (leaf * torch.tensor(value, device=GPU, dtype=dtype)).backward()

    session = record(program)
    expected = [torch.tensor(value, dtype=dtype).item() for value in values]
    assert [step.loss for step in session.steps] == pytest.approx(expected, rel=1e-15, nan_ok=True)


# Loss scaling


def gpu_scaler() -> Any:
    return torch.amp.GradScaler(GPU, init_scale=1024.0, growth_interval=1)


@promise("CUDA", "GradScaler, without a synchronisation of ours; fused optimizers that unscale inside their kernel")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_on_the_device_is_seen_like_one_on_the_cpu(
    record: Record, *, fused: bool, clip: bool, detail: Detail
) -> None:
    seen: list[by_hand.Seen] = []

    def program() -> object:
        training = by_hand.Training(lambda all_: torch.optim.Adam(all_, lr=0.01, fused=fused), seen, GPU)
        by_hand.scaled_training(gpu_scaler, clip=clip)(training)
        return training.results()

    session = check_exact(record, program, detail)
    by_hand.check_steps(session, seen)
    assert [step.loss_scale for step in session.steps] == [1024.0, 2048.0, 1024.0, 2048.0, 4096.0]
    assert [step.skipped for step in session.steps] == [False, True, False, False, False]


def test_steps_under_a_scaler_never_wait_for_the_device(record: Record) -> None:
    def program() -> None:
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)  # torch's own waits where not fused
        scaler = gpu_scaler()
        for step in range(WARM + 8):
            with no_waiting() if step >= WARM else waiting_allowed():
                optimizer.zero_grad()
                with torch.autocast(GPU, torch.float16):
                    loss = model(torch.randn(32, 64, device=GPU)).square().mean()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                scaler.step(optimizer)
                scaler.update()

    session = record(program, detail="nodes")
    assert trouble(session) == []
    assert all(step.loss is not None and step.loss_scale is not None for step in session.steps)


@promise("CUDA", "autocast to float16 and bfloat16")
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_on_the_device_is_recorded_as_it_ran(record: Record, dtype: torch.dtype, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        model = network()
        for _ in range(3):
            model.zero_grad()
            with torch.autocast(GPU, dtype):
                loss = model(torch.randn(32, 64, device=GPU)).float().square().mean()
            loss.backward()
            kept.keep(loss, model)
        return list(model.parameters()), kept.losses

    kept.check(check_exact(record, program, detail))


# Streams and threads


@promise("CUDA", "streams of the program: forward and backward on side streams")
@pytest.mark.parametrize("detail", DETAILS)
def test_gradients_made_on_other_streams_are_read_when_they_are_there(record: Record, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        torch.manual_seed(0)
        branches = nn.ModuleList([nn.Linear(256, 256), nn.Linear(256, 256)]).to(GPU)
        streams = [torch.cuda.Stream(), torch.cuda.Stream()]
        for _ in range(4):
            branches.zero_grad()
            batch = torch.randn(64, 256, device=GPU)
            outputs: list[Tensor] = []
            for branch, stream in zip(branches, streams, strict=True):
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    torch.cuda._sleep(20_000_000)  # so that whoever does not wait reads what is not there yet
                    outputs.append(_Slow.apply(branch(batch)).square().mean())
            for stream in streams:
                torch.cuda.current_stream().wait_stream(stream)
            loss = outputs[0] + outputs[1]
            loss.backward()
            kept.keep(loss, branches)
        return list(branches.parameters()), kept.losses

    kept.check(check_exact(record, program, detail))


class _Slow(torch.autograd.Function):
    """Takes its time in backward, on the stream of its forward."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        torch.cuda._sleep(20_000_000)
        return gradients[0].clone()


def test_a_training_step_within_a_side_stream_is_read_on_it(record: Record) -> None:
    kept = Kept()

    def program() -> None:
        kept.clear()
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                optimizer.zero_grad()
                torch.cuda._sleep(20_000_000)
                loss = model(torch.randn(32, 64, device=GPU)).square().mean()
                loss.backward()
                kept.keep(loss, model)
                optimizer.step()
        torch.cuda.synchronize()

    kept.check(record(program, detail="nodes"))


@promise("CUDA", "the engine's device threads: their gradients belong to the call that runs them")
@pytest.mark.parametrize("detail", DETAILS)
def test_what_runs_on_a_device_thread_belongs_to_its_call(record: Record, detail: Detail) -> None:
    ran_on: list[int] = []

    def program() -> object:
        model = network()
        output = model(torch.randn(32, 64, device=GPU))
        output.register_hook(lambda _: ran_on.append(threading.get_ident()))
        output.square().mean().backward()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    assert ran_on
    assert set(ran_on) != {threading.get_ident()}
    (call,) = calls_of(session)
    assert call.thread == threading.get_ident()
    if detail == "nodes":
        nodes = sum(
            len(record.subjects.data) // 4
            for record in session.reader.records_of_step(Gradients, 0)
            if record.subject_kind == "node"
        )
        assert nodes > 5


# Memory


def live_blocks() -> dict[int, tuple[int, int]]:
    """Requested and allocated bytes of every block in use, by address, from the allocator's own snapshot."""
    torch.cuda.synchronize()
    found: dict[int, tuple[int, int]] = {}
    snapshot: Any = torch.cuda.memory_snapshot()
    for segment in snapshot:
        address = segment["address"]
        for block in segment["blocks"]:
            if block["state"] == "active_allocated":
                found[address] = (block["requested_size"], block["size"])
            address += block["size"]
    return found


@promise("CUDA", "held bytes: those of the allocator's snapshot, within its rounding")
@pytest.mark.parametrize("detail", ["modules", "nodes"])
def test_held_bytes_are_what_the_allocator_gave_to_the_forward(record: Record, detail: Detail) -> None:
    made: list[dict[int, tuple[int, int]]] = []

    def program() -> object:
        made.clear()
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(7 * 36, 5))
        model.to(GPU)
        for _ in range(3):
            before = live_blocks()
            loss = model(torch.randn(9, 3, 8, 8, device=GPU)).square().sum()
            made.append({address: size for address, size in live_blocks().items() if address not in before})
            loss.backward()
            del loss
            model.zero_grad()
        return list(model.parameters())

    session = check_exact(record, program, detail)
    for step in (1, 2):  # in the first, libraries allocate workspaces of their own
        held = session.held(step, 0)
        requested = sum(size for size, _ in made[step].values()) - 4  # the loss itself
        allocated = sum(size for _, size in made[step].values()) - 512
        assert without_numbers(held) == requested
        assert 0 <= allocated - requested < 512 * len(made[step])


@promise("CUDA", "peak memory: not raised in proportion to the program's")
@pytest.mark.parametrize("detail", DETAILS)
def test_the_allocators_peak_is_that_of_the_program(record: Record, detail: Detail) -> None:
    def peak(width: int) -> int:
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Linear(width, width) for _ in range(6))).to(GPU)
        for layer in model:
            layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())  # type: ignore[assignment]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        for step in range(5):
            if step == 3:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            model(torch.randn(512, width, device=GPU)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    for width in (512, 2048):
        alone, recorded = peak(width), []
        record(lambda width=width, recorded=recorded: recorded.append(peak(width)), detail=detail)
        assert recorded[0] - alone < 8 << 20, f"of {alone} bytes"


@promise("CUDA", "pinned batches that are copied without waiting")
@pytest.mark.parametrize("detail", DETAILS)
def test_pinned_batches_stay_pinned_and_are_no_reason_to_wait(record: Record, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        model = network()
        batches = [torch.randn(32, 64).pin_memory() for _ in range(WARM + 4)]
        for step, batch in enumerate(batches):
            with no_waiting() if step >= WARM else waiting_allowed():
                model.zero_grad()
                loss = model(batch.to(GPU, non_blocking=True)).square().mean()
                loss.backward()
                kept.keep(loss, model)
        assert all(batch.is_pinned() for batch in batches)
        return list(model.parameters()), kept.losses

    kept.check(check_exact(record, program, detail))


# CUDA graphs


@promise(
    "CUDA",
    "CUDA graphs of whole steps (torch.cuda.graph)",
    gradients="unsupported",
    held="unsupported",
    graph="partly",
    note="the capture is seen as a call without values; replays run no hooks, and a notice says so",
)
@pytest.mark.parametrize("detail", DETAILS)
def test_a_captured_step_replays_as_without_us_and_is_said_not_to_be_seen(record: Record, detail: Detail) -> None:
    def program() -> object:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(GPU)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, capturable=True)
        batch = torch.randn(32, 64, device=GPU)

        def step() -> None:
            optimizer.zero_grad(set_to_none=False)
            model(batch).square().mean().backward()
            optimizer.step()

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        for _ in range(5):
            captured.replay()
        torch.cuda.synchronize()
        return list(model.parameters()), [dict(state) for state in optimizer.state.values()]

    session = check_exact(record, program, detail)
    assert trouble(session) == []
    assert any("CUDA graph" in notice.text for notice in session.notices)
    assert norms_at(session, 3) == []
    assert all(np.isnan(norm) for norm, _ in by_hand.used_at(session, 3).values())


@promise(
    "CUDA",
    "torch.cuda.make_graphed_callables",
    graph="labelled",
    held="labelled",
    note="a graphed callable is one node; what is inside it, and what it saved, is not observable",
)
@pytest.mark.parametrize("detail", DETAILS)
def test_a_graphed_module_is_one_labelled_node_with_its_gradients(record: Record, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(64, 64), nn.ReLU()).to(GPU)
        head = nn.Linear(64, 10).to(GPU)
        graphed: Any = torch.cuda.make_graphed_callables(body, (torch.randn(32, 64, device=GPU),))
        both = nn.ModuleList([body, head])
        for _ in range(3):
            both.zero_grad()
            loss = head(graphed(torch.randn(32, 64, device=GPU))).square().mean()
            loss.backward()
            kept.keep(loss, both)
        return list(both.parameters()), kept.losses

    session = check_exact(record, program, detail)
    assert trouble(session) == []
    steps = session.steps[-3:]
    for step, loss, gradients in zip(steps, kept.losses, kept.gradients, strict=True):
        assert step.loss == pytest.approx(loss.item(), rel=1e-6)
        expected = sorted(norm_of(gradient) for gradient in gradients.values())
        assert norms_at(session, step.number) == pytest.approx(expected, rel=1e-5)
        if detail != "parameters":
            labels = step.backwards[-1].graph.labels.values()
            assert any("CUDA graphs" in label.text for label in labels)


# Several devices


@promise("CUDA", "a model over several devices")
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA devices")
@pytest.mark.parametrize("detail", DETAILS)
def test_a_model_over_two_devices_is_recorded_whole(record: Record, detail: Detail) -> None:
    kept = Kept()

    def program() -> object:
        kept.clear()
        torch.manual_seed(0)
        parts = nn.ModuleList([nn.Linear(64, 64).to("cuda:0"), nn.Linear(64, 10).to("cuda:1")])
        optimizer = torch.optim.SGD(parts.parameters(), lr=0.1)
        for step in range(WARM + 4):
            with no_waiting() if step >= WARM else waiting_allowed():
                optimizer.zero_grad()
                middle = parts[0](torch.randn(32, 64, device="cuda:0")).relu()
                loss = parts[1](middle.to("cuda:1", non_blocking=True)).square().mean()
                loss.backward()
                kept.keep(loss, parts)
                optimizer.step()
        return list(parts.parameters()), kept.losses

    session = check_exact(record, program, detail)
    assert trouble(session) == []
    kept.check(session)

"""What is written when memory runs out: before the error goes on, of what was held then, and in words."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import gradwatch
from gradwatch.capture import out_of_memory
from gradwatch.capture.out_of_memory import is_out_of_memory, requested_bytes
from gradwatch.records import OutOfMemory

if TYPE_CHECKING:
    from pathlib import Path

    from gradwatch import Session

HUGE = 1 << 46


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 1))


def only(session: Session) -> OutOfMemory:
    found = list(session.reader.records(OutOfMemory))
    assert len(found) == 1
    return found[0]


def fail_in_forward(trained: nn.Sequential) -> None:
    hidden = trained[1](trained[0](torch.randn(512, 64)))
    torch.empty(HUGE)
    hidden.sum().backward()


class HugeBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values)
        return values * 2

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        torch.empty(HUGE)
        return gradients[0]


def test_a_forward_that_fails_tells_what_its_graph_held_at_that_instant(tmp_path: Path) -> None:
    trained = model()
    with pytest.raises(RuntimeError, match="allocate"), gradwatch.watch(trained, tmp_path / "a.gradwatch"):
        fail_in_forward(trained)
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        record = only(session)
        assert (record.phase, record.device, record.requested_bytes) == ("forward", "cpu", HUGE * 4)
        assert record.held_bytes == 4 * (512 * 64 + 512 * 256)  # the batch, and what tanh returned
        assert record.parameter_bytes == sum(each.numel() * 4 for each in trained.parameters())
        assert session.site(record.project_site).function == "fail_in_forward"
        ledger = session.ledger_table(record.ledger)
        assert ledger is not None
        assert sum(ledger.class_bytes()[name] for name in ("activation", "input")) == record.held_bytes


def test_a_backward_that_fails_tells_what_is_left_of_its_graph(tmp_path: Path) -> None:
    trained = model()
    with pytest.raises(RuntimeError, match="allocate"), gradwatch.watch(trained, tmp_path / "a.gradwatch"):
        HugeBackward.apply(trained[1](trained[0](torch.randn(512, 64)))).square().sum().backward()
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        record = only(session)
        assert (record.phase, record.op) == ("backward", "HugeBackwardBackward")
        assert record.held_bytes == 4 * (512 * 64 + 512 * 256)  # what square saved was released before
        assert session.site(record.project_site).function.endswith("backward")
        assert session.findings[0].kind == "out of memory"


def test_the_record_is_in_the_file_before_the_error_reaches_the_program(tmp_path: Path) -> None:
    trained = model()
    recorder = gradwatch.watch(trained, tmp_path / "a.gradwatch")
    try:
        with pytest.raises(RuntimeError, match="allocate"):
            HugeBackward.apply(trained(torch.randn(4, 64))).sum().backward()
        with gradwatch.open(tmp_path / "a.gradwatch") as session:
            assert only(session).phase == "backward"
    finally:
        recorder.stop()


def test_nothing_of_the_failed_forward_is_kept_alive(tmp_path: Path) -> None:
    import gc
    import weakref

    trained = model()
    with gradwatch.watch(trained, tmp_path / "a.gradwatch") as recorder:
        hidden = trained[0](torch.randn(8, 64))
        lost = weakref.ref(hidden.untyped_storage())
        try:
            torch.empty(HUGE)
        except RuntimeError as error:
            recorder.failed(error)
            error.__traceback__ = None
        del hidden
        gc.collect()
        assert lost() is None


def test_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), gradwatch.watch(model(), tmp_path / "a.gradwatch"):
        model()(torch.randn(4, 3))
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        assert list(session.reader.records(OutOfMemory)) == []


@pytest.mark.parametrize(
    ("message", "requested"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has", 20 << 30),
        ("CUDA out of memory. Tried to allocate 512.00 KiB", 512 << 10),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 281474976710656 bytes. Error", 1 << 48),
        ("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.", 4),
        ("out of memory", -1),
    ],
)
def test_what_was_asked_for_is_read_from_the_message(message: str, requested: int) -> None:
    assert requested_bytes(message) == requested


def test_the_errors_of_every_allocator_are_known() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert"))


def fail_as_a_device_does(trained: nn.Sequential, watch: out_of_memory.OutOfMemoryWatch) -> torch.Tensor:
    hidden = trained[1](trained[0](torch.randn(512, 64)))
    watch._allocator_fails(0, 1 << 30, 1 << 33, 0)  # pyright: ignore[reportPrivateUsage] # no device here: as torch would
    return hidden


def test_an_allocators_observer_writes_once_for_the_error_that_follows(tmp_path: Path) -> None:
    trained = model()
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
    with gradwatch.watch(trained, tmp_path / "a.gradwatch") as recorder:
        watches = [pair[0] for pair in recorder._recording.observers._all]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess] # no device here: called as torch would
        watch = next(each for each in watches if isinstance(each, out_of_memory.OutOfMemoryWatch))
        fail_as_a_device_does(trained, watch)
        recorder.failed(error)
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        record = only(session)
        assert record.requested_bytes == 1 << 30
        assert record.held_bytes >= 4 * (512 * 64 + 512 * 256)
        assert record.phase == "forward"


PROGRAM = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def grow(hidden):
    return hidden.sum() + torch.empty(1 << 46).sum()

for step in range(3):
    loss = model(torch.ones(2, 8)).sum()
    if step == 2:
        loss = grow(loss)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # our own program
        [sys.executable, *command, "train.py"], cwd=tmp_path, capture_output=True, timeout=120, check=False
    )


def test_a_recorded_program_that_dies_of_it_leaves_it_in_the_file_and_its_traceback_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(PROGRAM))
    plain = run(tmp_path)
    recorded = run(tmp_path, "-m", "gradwatch", "run", "-q")
    assert (recorded.returncode, recorded.stdout, recorded.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    with gradwatch.open(tmp_path / "train.gradwatch") as session:
        record = only(session)
        assert session.site(record.project_site).function == "grow"
        assert record.step == 2
        finding = session.findings[0]
        assert (finding.kind, finding.severity, finding.cause) == ("out of memory", "error", "forward")
        assert "256 TiB" in finding.sentence


LIMITED = """
import resource, torch
from torch import nn

blocks = nn.ModuleList(nn.Sequential(nn.Linear(256, 1024), nn.Tanh(), nn.Linear(1024, 256)) for _ in range(40))
hidden = torch.randn(2048, 256)
nn.Linear(2, 2)(torch.ones(2, 2)).sum().backward()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20), used + (160 << 20)))
for block in blocks:
    hidden = hidden + block(hidden)
hidden.sum().backward()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds a process to RLIMIT_AS")
def test_a_real_shortage_names_a_change_that_would_have_made_room(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(LIMITED))
    recorded = run(tmp_path, "-m", "gradwatch", "run", "-q")
    assert recorded.returncode == 1, recorded.stderr.decode()
    with gradwatch.open(tmp_path / "train.gradwatch") as session:
        record = only(session)
        assert record.requested_bytes in (2048 * 1024 * 4, 2048 * 256 * 4)
        assert record.held_bytes > 32 << 20
        finding = next(each for each in session.findings if each.kind == "out of memory")
        assert "The smallest change that would have made room" in finding.fix

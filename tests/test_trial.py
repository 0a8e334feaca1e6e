"""A change that is tried: measured as in a program with the change written by hand, and all is restored."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import gradwatch
from gradwatch.errors import RecordingError, UsageError
from gradwatch.records import Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.act, self.drop, self.down = nn.Linear(32, 128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 32)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.down(self.drop(self.act(self.up(values))))


class Net(nn.Module):
    def __init__(self, *, by_hand: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 1))
        self.by_hand = by_hand

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            values = checkpoint(block, values, use_reentrant=False) if self.by_hand else block(values)
        return self.head(values)


def train(model: nn.Module, recorder: gradwatch.Recorder | None = None, steps: int = 6, lr: float = 0.1) -> list[Any]:
    """Losses and gradients of each step, with fixed random numbers from step to step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batch, seen = torch.ones(64, 32), list[Any]()
    for _ in range(steps):
        torch.manual_seed(1)
        loss = model(batch).square().mean()
        loss.backward()
        seen.append((loss.item(), [each.grad.clone() for each in model.parameters() if each.grad is not None]))
        if recorder is None:
            optimizer.step()
        optimizer.zero_grad()
        if recorder is not None:
            recorder.step()
    return seen


def tried(tmp_path: Path, change: str, target: str = "*") -> tuple[Trial, gradwatch.Session]:
    model = Net()
    with gradwatch.watch(model, tmp_path / "tried.gradwatch") as recorder:
        recorder.try_next(change, target)
        train(model)
    session = gradwatch.open(tmp_path / "tried.gradwatch")
    return next(session.reader.records(Trial)), session


def held(tmp_path: Path, model: nn.Module, name: str, around: Callable[[], Any] | None = None) -> int:
    with gradwatch.watch(model, tmp_path / name):
        if around is None:
            train(model, steps=2)
        else:
            with around():
                train(model, steps=2)
    with gradwatch.open(tmp_path / name) as session:
        return session.step(1).backwards[0].held_bytes


def test_checkpointing_measures_to_the_byte_what_it_measures_written_by_hand(tmp_path: Path) -> None:
    trial, session = tried(tmp_path, "checkpoint", "blocks.*")
    with session:
        assert trial.before_peak == held(tmp_path, Net(), "plain.gradwatch")
        assert trial.after_peak == held(tmp_path, Net(by_hand=True), "by_hand.gradwatch")
        assert trial.after_peak < trial.before_peak
        assert trial.after_step == trial.before_step + 1
        names = [session.names.module_name(number) for number in trial.modules]
        assert names == ["blocks.0", "blocks.1", "blocks.2"]


def test_the_steps_after_a_trial_are_those_of_a_program_without_one(tmp_path: Path) -> None:
    plain = train(Net())
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.try_next("checkpoint", "blocks.*")
        recorded = train(model)
    for (loss, gradients), (other, others) in zip(plain, recorded, strict=True):
        assert loss == other  # dropout's masks too: what runs again runs with the same random numbers
        assert all(torch.equal(one, two) for one, two in zip(gradients, others, strict=True))
    assert all("forward" not in vars(module) for module in model.modules())


def test_comparable_steps_say_that_the_gradients_are_the_same(tmp_path: Path) -> None:
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.step()
        recorder.try_next("checkpoint", "blocks.*")
        train_same(model, recorder)
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        assert next(session.reader.records(Trial)).same_gradients is True


def test_saving_in_bfloat16_says_by_how_much_the_gradients_differ(tmp_path: Path) -> None:
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.step()
        recorder.try_next("bf16 saving")
        train_same(model, recorder)
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        trial = next(session.reader.records(Trial))
        assert trial.same_gradients is False
        assert "gradients differ by" in trial.note
        assert trial.before_peak * 0.5 <= trial.after_peak < trial.before_peak * 0.6


def train_same(model: nn.Module, recorder: gradwatch.Recorder) -> None:
    batch = torch.ones(64, 32)
    for _ in range(3):
        torch.manual_seed(1)
        model(batch).square().mean().backward()
        recorder.step()
        for parameter in model.parameters():
            parameter.grad = None


def test_steps_that_update_parameters_are_not_compared(tmp_path: Path) -> None:
    trial, session = tried(tmp_path, "checkpoint", "blocks.*")
    session.close()
    assert trial.same_gradients is None


def test_activations_in_place_hold_less_and_are_put_back(tmp_path: Path) -> None:
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.try_next("in-place activation")
        train(model)
    assert model.head[1].inplace is False
    by_hand = Net()
    vars(by_hand.head[1])["inplace"] = True
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        trial = next(session.reader.records(Trial))
        assert trial.after_peak == held(tmp_path, by_hand, "by_hand.gradwatch")
        assert trial.after_peak < trial.before_peak
        assert [session.names.module_name(number) for number in trial.modules] == ["head.1"]


def test_saving_on_the_cpu_is_tried_as_torch_does_it(tmp_path: Path) -> None:
    trial, session = tried(tmp_path, "save_on_cpu")
    session.close()
    assert trial.after_peak == held(tmp_path, Net(), "by_hand.gradwatch", torch.autograd.graph.save_on_cpu)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(values).reshape(2, 64, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v)


def test_fused_attention_is_taken_where_the_program_had_it_off(tmp_path: Path) -> None:
    model = Attention()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(enabled=False)
    try:
        with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
            recorder.try_next("fused attention")
            for _ in range(5):
                model(torch.randn(2, 64, 16)).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        assert not torch.backends.cuda.flash_sdp_enabled()
    finally:
        torch.backends.cuda.enable_flash_sdp(before)
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        trial = next(session.reader.records(Trial))
        assert (
            trial.after_peak <= trial.before_peak - 2 * 2 * 64 * 63 * 4
        )  # the attention matrices, for one number a row


def test_a_step_that_fails_under_the_change_puts_everything_back(tmp_path: Path) -> None:
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.try_next("checkpoint", "blocks.*")
        train(model, steps=3)
        recorder.failed(ValueError("the batch is broken"))
        assert all("forward" not in vars(module) for module in model.modules())
    with gradwatch.open(tmp_path / "a.gradwatch") as session:
        assert list(session.reader.records(Trial)) == []
        assert any("could not be tried" in notice.text for notice in session.notices)


def test_a_recording_that_ends_in_the_middle_puts_everything_back(tmp_path: Path) -> None:
    model = Net()
    with gradwatch.watch(model, tmp_path / "a.gradwatch") as recorder:
        recorder.try_next("bf16 saving")
        train(model, steps=3)
    assert torch.ones(1, requires_grad=True).square().grad_fn is not None  # conftest looks for hooks that are left


def test_what_cannot_be_tried_is_refused_in_words(tmp_path: Path) -> None:
    with gradwatch.watch(Net(), tmp_path / "a.gradwatch") as recorder, pytest.raises(UsageError, match="save_on_cpu"):
        recorder.try_next("magic")
    with pytest.raises(RecordingError, match="held memory"):
        recorder.try_next("checkpoint")


PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(50):
    model(torch.randn(32, 16)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    print("step", step)
"""


def run_try(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "train.py").write_text(dedent(PROGRAM))
    command = [sys.executable, "-m", "gradwatch", "try", *options, "train.py"]
    return subprocess.run(  # our own program
        command, cwd=tmp_path, capture_output=True, timeout=120, check=False, text=True
    )


def test_the_command_measures_ends_the_program_and_says_so(tmp_path: Path) -> None:
    done = run_try(tmp_path, "--bf16")
    assert done.returncode == 0, done.stderr
    assert "step 2\n" in done.stdout
    assert "step 10" not in done.stdout
    assert "held for backward" in done.stdout
    assert "The program was ended after step 3" in done.stdout
    assert done.stderr == ""


def test_the_command_prints_json_alone_on_stdout(tmp_path: Path) -> None:
    done = run_try(tmp_path, "--json", "--checkpoint", "0")
    report = json.loads(done.stdout)
    assert (report["change"], report["target"], report["modules"]) == ("checkpoint", "0", ["0"])
    assert (report["before_step"], report["after_step"]) == (2, 3)
    assert report["before_peak_bytes"] > 0


def test_the_command_says_when_the_program_was_over_too_soon(tmp_path: Path) -> None:
    done = run_try(tmp_path, "--bf16", "--at", "60")
    assert done.returncode == 2
    assert "Try earlier ones with --at" in done.stderr


def test_a_trial_is_a_finding_that_was_measured(tmp_path: Path) -> None:
    trial, session = tried(tmp_path, "checkpoint", "blocks.*")
    with session:
        finding = next(each for each in session.findings if each.certainty == "measured" and each.kind == "what if")
    assert finding.severity == "note"
    assert finding.bytes == trial.before_peak - trial.after_peak

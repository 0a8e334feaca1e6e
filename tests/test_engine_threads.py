"""Following autograd's own threads: which nodes are the first on them, and that nothing is there without a debugger."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from gradwatch.capture import engine_threads
from gradwatch.capture.graph import roots_of, walk

CPU, FIRST_GPU, SECOND_GPU = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)
AUTOGRAD: Any = torch.autograd


def test_the_first_node_of_each_device_is_a_root_or_reached_from_another_device() -> None:
    x = torch.ones(2, requires_grad=True)
    walked = walk(roots_of([x.exp().sin().cos().sum()]))
    assert walked.names == ["AccumulateGrad", "ExpBackward0", "SinBackward0", "CosBackward0", "SumBackward0"]
    one_device = [FIRST_GPU] * 5
    assert engine_threads.first_on_device(walked, one_device) == [4]
    loss_on_cpu = [FIRST_GPU, FIRST_GPU, FIRST_GPU, FIRST_GPU, CPU]
    assert engine_threads.first_on_device(walked, loss_on_cpu) == [3, 4]
    two_devices = [SECOND_GPU, SECOND_GPU, SECOND_GPU, FIRST_GPU, FIRST_GPU]
    assert engine_threads.first_on_device(walked, two_devices) == [2, 4]


def test_a_node_tells_the_device_whose_thread_runs_it() -> None:
    x = torch.ones(2, requires_grad=True)
    assert {engine_threads.device_of(node) for node in walk(roots_of([x.exp().sum()])).nodes} == {CPU}
    meta = torch.ones(2, requires_grad=True, device="meta")
    assert {engine_threads.device_of(node) for node in walk(roots_of([meta.exp()])).nodes} == {torch.device("meta")}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of threads that the debugger, which is said to be attached, was made aware of."""
    names: list[str] = []
    monkeypatch.setattr(engine_threads, "is_attached", lambda: True)
    monkeypatch.setattr(engine_threads, "trace_this_thread", lambda: names.append(threading.current_thread().name))
    monkeypatch.setattr(engine_threads, "_local", threading.local())
    return names


def deep(depth: int) -> Any:
    class Deep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, depth: int) -> torch.Tensor:
            ctx.depth = depth
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor, None]:
            if ctx.depth:
                with torch.enable_grad():
                    Deep.apply(torch.ones(1, requires_grad=True), ctx.depth - 1).sum().backward()
            return grad[0], None

    return Deep.apply(torch.ones(1, requires_grad=True), depth).sum()


def test_threads_of_the_engine_are_followed_and_pythons_never(traced: list[str]) -> None:
    engine_threads.watch_engine_threads()
    try:
        deep(3).backward()
        assert traced == []
        deep(70).backward()
        followed = list(traced)
        assert followed
        assert all(name.startswith("Dummy-") for name in followed)
        thread = threading.Thread(target=lambda: deep(3).backward())
        thread.start()
        thread.join()
        assert traced == followed
    finally:
        engine_threads.unwatch_engine_threads()


def test_devices_are_followed_until_their_thread_is_known(traced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_threads, "_followed_devices", set())
    monkeypatch.setattr(engine_threads, "_devices_in_use", lambda: {CPU})  # stands for a GPU
    walks: list[int] = []
    monkeypatch.setattr(engine_threads, "walk", lambda roots: walks.append(1) or walk(roots))
    engine_threads.watch_engine_threads()
    try:
        for _ in range(3):
            torch.ones(1, requires_grad=True).exp().sum().backward()
    finally:
        engine_threads.unwatch_engine_threads()
    assert walks == [1]
    assert engine_threads._followed_devices == {CPU}


def test_without_a_debugger_no_graph_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    original = AUTOGRAD._engine_run_backward
    monkeypatch.setattr(engine_threads, "roots_of", None)
    engine_threads.watch_engine_threads()
    try:
        deep(3).backward()
    finally:
        engine_threads.unwatch_engine_threads()
    assert AUTOGRAD._engine_run_backward is original


def test_device_threads_can_be_switched_off_for_this_thread() -> None:
    assert engine_threads.set_multithreading(enabled=False) is True
    assert engine_threads.set_multithreading(enabled=True) is False

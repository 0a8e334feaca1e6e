"""A recorded run computes what an unrecorded one does, to the bit, and needs no more memory."""

from __future__ import annotations

import gc
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import gradwatch
from gradwatch.records import Detail
from models import PROGRAMS, fingerprints, mlp, run_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models import Program

DETAILS: tuple[Detail, ...] = get_args(Detail)


@cache
def unrecorded(name: str) -> list[str]:
    return fingerprints(PROGRAMS[name]())


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_recorded_run_is_the_unrecorded_one_bit_for_bit(name: str, detail: Detail, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail):
        recorded = fingerprints(program)
    assert recorded == unrecorded(name)


@pytest.mark.parametrize("detail", DETAILS)
def test_recording_without_a_model_changes_nothing_either(detail: Detail, tmp_path: Path) -> None:
    program = PROGRAMS["lstm_cell"]()
    with gradwatch.watch(path=tmp_path / "run.gradwatch", detail=detail):
        recorded = fingerprints(program)
    assert recorded == unrecorded("lstm_cell")


def test_a_process_that_never_loads_gradwatch_computes_the_same() -> None:
    alone = run_alone(f"""
        import torch, models
        torch.set_num_threads({torch.get_num_threads()})
        for make in models.PROGRAMS.values():
            print(*models.fingerprints(make()))
        assert not any(name.startswith("gradwatch") for name in sys.modules)
    """)
    assert [line.split() for line in alone.splitlines()] == [unrecorded(name) for name in PROGRAMS]


GROWTH_STEPS = 400


@pytest.mark.parametrize("detail", DETAILS)
def test_nothing_grows_with_the_steps_while_the_garbage_collector_is_off(
    detail: Detail, tmp_path: Path, one_thread: None
) -> None:
    program = mlp(width=8, depth=2, batch=4)
    alone = _growth(program, lambda: True)  # torch's own: one memory block a step
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail) as recorder:
        recorded = _growth(program, recorder.flush)
    # One Python object of any kind kept each step would be GROWTH_STEPS more.
    assert recorded.tensors == alone.tensors
    assert recorded.objects - alone.objects < GROWTH_STEPS / 2
    assert recorded.blocks - alone.blocks < GROWTH_STEPS / 2


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _Growth(NamedTuple):
    """Counts of objects that the collector knows, of tensors, and of all memory blocks of Python's."""

    objects: int
    tensors: int
    blocks: int


def _counts() -> _Growth:
    objects = gc.get_objects()
    count, tensors = len(objects), sum(issubclass(type(each), torch.Tensor) for each in objects)
    del objects
    return _Growth(count, tensors, sys.getallocatedblocks())


def _growth(program: Program, flush: Callable[[], bool]) -> _Growth:
    gc.collect()
    gc.disable()
    try:
        for _ in range(GROWTH_STEPS):  # tables and buffers reach their size
            program.step()
        assert flush()
        before = _counts()
        for _ in range(GROWTH_STEPS):
            program.step()
        assert flush()
        return _Growth(*(new - old for new, old in zip(_counts(), before, strict=True)))
    finally:
        gc.enable()


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_peak_memory_of_tensors_does_not_rise(name: str, detail: Detail, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    alone = [_tensor_memory(program) for _ in range(3)][-1]
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail):
        recorded = [_tensor_memory(program) for _ in range(3)][-1]
    assert recorded == alone


def _tensor_memory(program: Program) -> tuple[int, int]:
    """Peak of the tensor bytes allocated within a step, above what there was, and what is left of them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        program.optimizer.zero_grad()
        program.loss().backward()
    results: Any = profiled.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak, now


@pytest.mark.parametrize("detail", DETAILS)
def test_nothing_is_left_on_parameters_or_on_graphs_that_live_on(detail: Detail, tmp_path: Path) -> None:
    program = mlp()
    with gradwatch.watch(program.model, tmp_path / "run.gradwatch", detail=detail):
        loss = program.loss()
        loss.backward(retain_graph=True)
    for parameter in program.model.parameters():
        hooks: Any = parameter
        assert not hooks._backward_hooks
        assert not hooks._post_accumulate_grad_hooks
    gc.collect()
    # What our pack hook handed to autograd while recording, only our unpack hook can give back; the rest
    # are the ends of weak references to storages that die in it.
    allowed = {"_unpack", "__del__", "_forget", "<lambda>", "_note_death"} if detail == "nodes" else set[str]()
    assert _calls_of_ours_in_backward(loss) <= allowed


def _package_directory() -> str:
    return str(Path(gradwatch.__file__).parent)


def _calls_of_ours_in_backward(loss: torch.Tensor) -> set[str]:
    seen: set[str] = set()

    def trace(frame: Any, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_package_directory()):
            seen.add(frame.f_code.co_name)

    sys.setprofile(trace)
    try:
        loss.backward()
    finally:
        sys.setprofile(None)
    return seen


def test_the_programs_own_locals_are_left_alone(tmp_path: Path) -> None:
    def train(width: int, rate: float) -> dict[str, object]:
        configuration = locals()
        layer = torch.nn.Linear(width, width)
        with gradwatch.watch(path=tmp_path / "run.gradwatch"):
            (rate * layer(torch.ones(2, width))).sum().backward()
        return configuration

    configuration = train(3, 0.5)
    assert configuration["width"] == 3
    assert configuration["rate"] == 0.5


def test_training_in_a_class_body_keeps_its_names(tmp_path: Path) -> None:
    class Experiment:
        layer = torch.nn.Linear(3, 3)
        with gradwatch.watch(path=tmp_path / "run.gradwatch"):
            layer(torch.ones(2, 3)).sum().backward()
        gradient = layer.weight.grad

    assert Experiment.gradient is Experiment.layer.weight.grad


def test_names_are_looked_up_without_keeping_the_programs_tensors_alive(tmp_path: Path) -> None:
    def train() -> bool:
        weight = torch.ones(3, requires_grad=True)
        hidden = weight.exp()
        hidden.sum().backward()
        watched = weakref.ref(hidden)
        del hidden
        return watched() is None

    with gradwatch.watch(path=tmp_path / "run.gradwatch"):
        assert train()

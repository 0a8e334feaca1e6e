"""The statistics of a device: the fused kernel in Triton's interpreter, its compiled form where there is a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradwatch.capture import statistics_cuda
from gradwatch.capture.device_values import DeviceValues
from gradwatch.capture.statistics import StatisticRows
from gradwatch.capture.statistics_cuda import DeviceRows
from gradwatch.capture.statistics_rows import COUNTS, ROW, Arena, empty_row
from gradwatch.capture.statistics_torch import count_by_sorting, torch_state
from gradwatch.capture.updates import SAMPLE, _norm, _sample
from gradwatch.records import HISTOGRAM_BINS

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def tensors() -> list[torch.Tensor]:
    """Every type, size and magnitude that takes another way through the kernel."""
    random = torch.Generator().manual_seed(0)
    specials = torch.tensor([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-40, -1e-45, 3e38, -3e38])
    found = [torch.empty(0), torch.tensor(-2.5), torch.tensor([float("nan")] * 20), specials]
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        found += [(torch.randn(size, generator=random) * 0.01).to(dtype) for size in (1, 15, 16, 17, 1000, 40_000)]
        found += [specials.to(dtype).repeat(300)]
        found += [torch.randn(3000, generator=random).mul(10.0**power).to(dtype) for power in (-44, -38, -20, 20, 37)]
    found += [torch.randn(500, generator=random, dtype=torch.float64) * 10.0**power for power in (-310, -200, 200, 300)]
    found += [torch.full((30_000,), 3e38), torch.full((30_000,), 0.1)]
    found += [
        torch.randint(-90, 90, (500,), generator=random).to(dtype) for dtype in (torch.int8, torch.int16, torch.int64)
    ]
    found += [torch.randint(0, 2, (500,), generator=random).bool()]
    found += [
        torch.randn(500, generator=random).to(torch.float8_e4m3fn),
        torch.randn(500, generator=random).to(torch.float8_e5m2),
    ]
    wide = torch.randn(60, 50, generator=random)
    found += [wide.t(), wide[:, 3:20:2], wide[:1].expand(30, 50), torch.tensor(0.3).expand(100, 7)]
    found += [torch.randn(50, dtype=torch.complex64, generator=random).conj().imag]
    return found


def on_device(rows: DeviceRows, wanted: list[torch.Tensor]) -> np.ndarray[Any, Any]:
    arena = Arena()
    for x in wanted:
        number = arena.take()
        arena.row(number)[:] = empty_row(0, histogram=True)
        rows.add(number, x, histogram=True)
    rows.flush()
    assert rows.has_landed()
    rows.collect(arena)
    return arena.gather(np.arange(len(wanted)))


def in_torch(wanted: list[torch.Tensor]) -> np.ndarray[Any, Any]:
    rows = StatisticRows(histogram=True, kernel=None)
    return rows._gather([rows.add(x) for x in wanted])


def assert_same(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert got.dtype == expected.dtype == ROW
    for name in (*COUNTS, "histogram", "has_histogram", "min", "max"):
        np.testing.assert_array_equal(got[name], expected[name], name)
    for name in ("l1", "l2"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6, err_msg=name)
    assert (np.abs(got["sum"] - expected["sum"]) <= 1e-6 * expected["l1"]).all()


def test_without_triton_the_same_buffer_is_filled_by_torch_operations() -> None:
    rows = DeviceRows(CPU, _in_triton=False)
    assert_same(on_device(rows, tensors()), in_torch(tensors()))


def test_a_table_of_device_rows_is_used_again_after_it_was_collected_or_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics_cuda, "SLOTS", 4)
    rows = DeviceRows(CPU, _in_triton=False)
    for seed in range(3):
        some = [torch.randn(10, generator=torch.Generator().manual_seed(seed)) for _ in range(11)]
        assert_same(on_device(rows, some), in_torch(some))
        assert not rows.pending
        rows.add(0, torch.ones(3), histogram=True)
        assert rows.pending
        rows.clear()
        assert not rows.pending


def test_a_kernel_that_does_not_compile_leaves_the_work_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(statistics_cuda, "launch", launch)
    some = [torch.randn(10), torch.randn(3)]
    assert_same(on_device(DeviceRows(CPU, _in_triton=True), some), in_torch(some))


INTERPRETED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from test_statistics_cuda import CPU, DeviceRows, assert_same, in_torch, on_device, tensors
rows = DeviceRows(CPU)
assert rows._in_triton
got = on_device(rows, tensors())
assert rows._in_triton, "the kernel failed and torch took over"
assert_same(got, in_torch(tensors()))
print("same")
"""


def triton_program(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernel_ext"), **variables}
    command = [sys.executable, "-W", "ignore", "-c", program, str(ROOT / "tests")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)


def test_the_fused_kernel_in_tritons_interpreter_agrees_with_torch() -> None:
    done = triton_program(INTERPRETED, TRITON_INTERPRET="1")
    assert done.stdout.strip() == "same", done.stderr[-3000:]


COMPILED = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from gradwatch.capture import statistics_triton as st

for dtype, wide in (("fp32", False), ("i16", False), ("fp64", True)):
    integer = "i64" if wide else "i32"
    signature = dict(values="*" + dtype, groups="i32", words="*i64", reals="*fp64", place="i32", smallest=integer)
    constants = dict(GROUP=16, IS_BFLOAT16=dtype == "i16", IS_WIDE=wide, WITH_HISTOGRAM=True)
    constants |= dict(SIZE=st.BLOCK, REPEATS=st.TILES)
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(st._statistics, signature, constants, {(0,): [["tt.divisibility", 16]]})
    built = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=dict(num_warps=st.WARPS))
    text = built.asm["ptx"]
    assert "ld.global.v" in text, dtype + ": values are loaded one by one"
    assert ".ftz" not in text, dtype + ": denormals are flushed"
    assert "add.f64" in text and "min.s64" in text, dtype
print("compiled")
"""


def test_the_fused_kernel_compiles_for_a_gpu_with_vector_loads_and_denormals() -> None:
    done = triton_program(COMPILED, TRITON_INTERPRET="0")
    assert done.stdout.strip() == "compiled", done.stderr[-3000:]


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.mark.gpu
def test_cuda_tensors_give_the_rows_of_their_cpu_copies(gpu: torch.device) -> None:
    rows = StatisticRows(histogram=True)
    got = rows._gather([rows.add(x.to(gpu)) for x in tensors()])
    assert_same(got, in_torch([x.to(gpu).cpu() for x in tensors()]))


@pytest.mark.gpu
def test_reading_copying_and_asking_never_wait_for_the_device(gpu: torch.device) -> None:
    rows = StatisticRows(histogram=True)
    x = torch.randn(1 << 22, device=gpu)
    rows.add(x)  # compiles and allocates
    rows.columns()
    rows.clear()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(100):
            assert rows.add(x) >= 0
        assert rows.pending
        rows.is_ready()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert (rows.columns()["count"] == x.numel()).all()
    assert rows.is_ready()
    assert not rows.pending


@pytest.mark.gpu
def test_rows_read_on_several_streams_arrive_together(gpu: torch.device) -> None:
    rows = StatisticRows()
    numbers: list[int] = []
    for k in range(8):
        stream = torch.cuda.Stream(gpu)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(10_000_000)
            numbers.append(rows.add(torch.full((1000,), float(k), device=gpu)))
    np.testing.assert_array_equal(rows.columns(numbers)["max"], np.arange(8))


@pytest.mark.gpu
def test_nothing_is_read_while_the_program_captures_a_cuda_graph(gpu: torch.device) -> None:
    rows = StatisticRows()
    x = torch.ones(100, device=gpu)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
        assert rows.add(y) == -1
    assert "CUDA graph" in str(rows.why_not)
    graph.replay()


@pytest.mark.gpu
def test_tensors_of_both_devices_share_one_table(gpu: torch.device) -> None:
    rows = StatisticRows()
    numbers = [rows.add(torch.ones(3)), rows.add(torch.full((4,), 2.0, device=gpu)), rows.add(torch.full((5,), 3.0))]
    np.testing.assert_array_equal(rows.columns(numbers)["max"], [1, 2, 3])
    np.testing.assert_array_equal(rows.columns(numbers)["count"], [3, 4, 5])


class NoWaiting(TorchDispatchMode):
    """Raises at every operation that would make the host wait for a GPU: what it gives depends on values."""

    waits = (
        "_local_scalar_dense",
        "nonzero",
        "bincount",
        "unique",
        "masked_select",
        "is_nonzero",
        "equal",
        "_coalesce",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        assert not name.startswith(self.waits), f"{name} waits"
        return func(*args, **(kwargs or {}))


def layouts() -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        plain = torch.ones(30, 40, dtype=dtype)
        found += [plain, plain.t(), plain[:, 3:20:2], plain[:1].expand(30, 40), plain[0, 0]]
    return found


def test_no_torch_operation_of_the_statistics_asks_for_a_value() -> None:
    with NoWaiting():
        for tensor in layouts():
            torch_state(tensor, histogram=False)
            count_by_sorting(tensor.reshape(-1).to(torch.uint8))
            if tensor.is_floating_point():
                before = _sample(tensor).clone()
                torch.stack([_norm(before), _norm(_sample(tensor) - before)])
        with pytest.raises(AssertionError, match="waits"):
            torch.ones(()).item()


def test_counting_by_sorting_counts_what_bincount_counts() -> None:
    bins = torch.randint(0, HISTOGRAM_BINS + 1, (5000,), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = torch.bincount(bins, minlength=HISTOGRAM_BINS + 1)[:HISTOGRAM_BINS]
    assert count_by_sorting(bins).tolist() == expected.tolist()


def test_a_sample_of_a_parameter_is_no_copy_of_it() -> None:
    wide = torch.randn(400, 300)
    for tensor in (wide, wide.t(), wide.view(1, 400, 300, 1).contiguous(memory_format=torch.channels_last)):
        sample = _sample(tensor)
        assert sample.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
        assert sample.numel() <= SAMPLE


def large_tensors(gpu: torch.device) -> list[torch.Tensor]:
    """Tensors that need many programs, or several blocks."""
    random = torch.Generator(gpu).manual_seed(0)
    wide = torch.randn(3000, 2100, generator=random, device=gpu)
    images = wide.view(70, 30, 60, 50)
    return [
        wide,
        wide.double() * 1e200,
        wide.bfloat16(),
        wide.half() * 1e-5,
        wide.t(),
        wide[:, ::3],
        wide[:1].expand(3000, 2100),
        images.contiguous(memory_format=torch.channels_last),
        torch.complex(wide, -wide),
        torch.complex(wide, -wide).conj(),
        (wide * 50).to(torch.int32),
        wide > 1,
        wide.to(torch.float8_e4m3fn),
    ]


@pytest.mark.gpu
def test_large_tensors_on_a_gpu_agree_with_a_float64_reference(gpu: torch.device) -> None:
    rows = StatisticRows()
    found = rows.columns([rows.add(tensor) for tensor in large_tensors(gpu)])
    for place, tensor in enumerate(large_tensors(gpu)):
        values = tensor.float() if tensor.element_size() == 1 else tensor
        parts = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
        x = parts.double()
        finite = x[x.isfinite()]
        expected = {
            "count": x.numel(),
            "zeros": int((x == 0).sum()),
            "nan": int(x.isnan().sum()),
            "inf": int(x.isinf().sum()),
            "min": finite.min().item(),
            "max": finite.max().item(),
            "l1": finite.abs().sum().item(),
            "l2": (finite / 1e200).norm().item() * 1e200 if finite.abs().max() > 1e150 else finite.norm().item(),
        }
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, rel=1e-5), (place, name)
        assert abs(found["mean"][place] * x.numel() - finite.sum().item()) <= 1e-5 * expected["l1"], place


@pytest.mark.gpu
def test_sparse_tensors_are_read_where_that_needs_no_waiting(gpu: torch.device) -> None:
    dense = torch.tensor([[0.0, 3.0], [4.0, 0.0]], device=gpu)
    rows = StatisticRows()
    numbers = [rows.add(dense.to_sparse().coalesce()), rows.add(dense.to_sparse_csr())]
    np.testing.assert_array_equal(rows.columns(numbers)["l2"], [5, 5])
    np.testing.assert_array_equal(rows.columns(numbers)["zeros"], [2, 2])
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0]], device=gpu), torch.ones(2, device=gpu), (3,))
    assert rows.add(twice) == -1
    assert "wait for the device" in str(rows.why_not)


@pytest.mark.gpu
def test_values_of_single_elements_are_copied_without_waiting(gpu: torch.device) -> None:
    wanted = [1.5, float("-inf"), float("nan"), 1e-300]
    tensors_ = [torch.tensor(value, dtype=torch.float64, device=gpu) for value in wanted]
    torch.cuda._sleep(10_000_000)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = DeviceValues([*tensors_, torch.ones(2, device=gpu), None, torch.tensor(7.0)])
        values.is_ready()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert values.values() == pytest.approx([*wanted, None, None, 7.0], nan_ok=True)


@pytest.mark.gpu
def test_a_row_read_on_a_side_stream_is_copied_after_it_was_written(gpu: torch.device) -> None:
    rows = StatisticRows()
    rows.add(torch.ones(1, device=gpu))
    rows.columns()
    for round_ in range(5):
        rows.clear()
        stream = torch.cuda.Stream(gpu)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            tensor = torch.zeros(1 << 20, device=gpu)
            torch.cuda._sleep(50_000_000)
            tensor.fill_(round_ + 1)
            rows.add(tensor)
        rows.flush()
        assert rows.columns()["max"].tolist() == [round_ + 1]

"""Statistics are right for every dtype, magnitude and layout, by the compiled kernel and by torch alike."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import subprocess
import sys
import sysconfig
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradwatch.capture.statistics import StatisticRows, counts_from_codes, resolve
from gradwatch.capture.statistics_cpu import CODES, Kernel, load_kernel
from gradwatch.capture.statistics_layout import ONE_BYTE, unseen
from gradwatch.records import HISTOGRAM_BINS, HISTOGRAM_LOWEST_EXPONENT, STATISTIC_DTYPES

X86 = platform.machine().lower() in ("x86_64", "amd64")
ROOT = Path(__file__).parents[1]
FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
FLOAT8 = [dtype for dtype in ONE_BYTE if dtype.is_floating_point]
INTEGERS = [torch.int16, torch.int32, torch.int64, torch.uint8, torch.int8, torch.bool]


def build_script() -> Any:
    spec = importlib.util.spec_from_file_location("build_statistics", ROOT / "kernel_ext" / "build_statistics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The kernel as it stands in the source, built for these tests."""
    script = build_script()
    try:
        path = script.build(tmp_path_factory.mktemp("kernel") / script.LIBRARY.name)
    except script.NoCompiler as reason:
        pytest.skip(f"the kernel cannot be built here: {reason}")
    loaded = load_kernel(path)
    assert loaded is not None
    return loaded


@pytest.fixture(params=["kernel", "torch"])
def rows(request: pytest.FixtureRequest) -> StatisticRows:
    chosen = request.getfixturevalue("kernel") if request.param == "kernel" else None
    return StatisticRows(histogram=True, kernel=chosen)


def reference(values: np.ndarray[Any, Any], smallest_normal: float) -> dict[str, float]:
    finite = values[np.isfinite(values)]
    size = np.abs(finite)
    top = size.max(initial=0.0)
    return {
        "count": values.size,
        "zeros": int((values == 0).sum()),
        "nan": int(np.isnan(values).sum()),
        "inf": int(np.isinf(values).sum()),
        "subnormals": int(((size > 0) & (size < smallest_normal)).sum()),
        "min": finite.min() if finite.size else np.nan,
        "max": finite.max() if finite.size else np.nan,
        "mean": finite.mean() if finite.size else np.nan,
        "l1": size.sum(),
        "l2": float(top * np.sqrt(np.square(size / top).sum())) if top > 0 else 0.0,
    }


def reference_histogram(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counted = values[np.isfinite(values) & (values != 0)]
    exponents = np.frexp(counted)[1].astype(np.int64) - 1
    bins = np.clip(exponents - HISTOGRAM_LOWEST_EXPONENT, 0, HISTOGRAM_BINS - 1)
    return np.bincount(bins, minlength=HISTOGRAM_BINS)


def as_doubles(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().resolve_conj().resolve_neg()
    wide = plain.to(torch.float32) if plain.dtype.is_floating_point and plain.itemsize == 1 else plain
    return wide.to(torch.float64).numpy().ravel()


def exact_histogram(rows: StatisticRows, row: int) -> np.ndarray[Any, Any]:
    return rows._gather([row])["histogram"][0]


def assert_row(rows: StatisticRows, row: int, values: np.ndarray[Any, Any], smallest_normal: float = 0.0) -> None:
    expected = reference(values, smallest_normal)
    got = {name: column[0] for name, column in rows.columns([row]).items()}
    for name in ("count", "zeros", "nan", "inf", "subnormals"):
        assert got[name] == expected[name], name
    for name in ("min", "max"):
        np.testing.assert_array_equal(got[name], got[name].dtype.type(expected[name]), name)
    for name in ("l1", "l2"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6, atol=0, err_msg=name)
    if not np.isnan(expected["mean"]):  # cancellation is the values' own: the error is relative to their size
        scale = expected["l1"] / (expected["count"] - expected["nan"] - expected["inf"])
        assert abs(got["mean"] - expected["mean"]) <= 1e-6 * scale + 2**-150  # half of the least float32
    else:
        assert np.isnan(got["mean"])
    np.testing.assert_array_equal(exact_histogram(rows, row), reference_histogram(values))


def planted(dtype: torch.dtype, size: int, seed: int) -> torch.Tensor:
    """Values of one of several spreads of magnitude, with everything a gradient can contain."""
    random = torch.Generator().manual_seed(seed)
    low, high = [(-1.0, 1.0), (-45.0, 38.0), (-12.0, -6.0), (30.0, 38.0), (-45.0, -37.0)][seed % 5]
    exponents = torch.rand(size, generator=random, dtype=torch.float64) * (high - low) + low
    signs = torch.randint(0, 2, (size,), generator=random) * 2 - 1
    values = (signs * 10**exponents).to(torch.float32)
    if dtype == torch.float16:
        values = values.clamp(-6e4, 6e4)
    x = values.to(dtype)
    specials = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), torch.finfo(dtype).smallest_normal / 4]
    for k, special in enumerate(specials):
        if (seed >> k) & 1 and size:
            x[torch.randint(0, size, (1 + size // 50,), generator=random)] = special
    return x


SIZES = [0, 1, 2, 15, 16, 17, 63, 64, 65, 255, 1000, 4095, 4096, 4097, 9000]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_tensors_of_every_size_and_magnitude_agree_with_a_float64_reference(
    rows: StatisticRows, dtype: torch.dtype
) -> None:
    for seed, size in enumerate(SIZES * 6):
        x = planted(dtype, size, seed)
        assert_row(rows, rows.add(x), as_doubles(x), torch.finfo(dtype).smallest_normal)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_large_tensor_keeps_its_accuracy(rows: StatisticRows, dtype: torch.dtype) -> None:
    x = torch.randn(1_500_003, generator=torch.Generator().manual_seed(0)).mul_(0.1).to(dtype)
    assert_row(rows, rows.add(x), as_doubles(x), torch.finfo(dtype).smallest_normal)
    constant = torch.full((1_000_000,), 0.1, dtype=dtype)
    assert_row(rows, rows.add(constant), as_doubles(constant), torch.finfo(dtype).smallest_normal)


def test_float16_values_are_read_exactly_whatever_their_bits(rows: StatisticRows) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    assert_row(rows, rows.add(every), as_doubles(every), torch.finfo(torch.float16).smallest_normal)
    for one in every[::257]:
        assert_row(rows, rows.add(one.reshape(1)), as_doubles(one), torch.finfo(torch.float16).smallest_normal)


@pytest.mark.parametrize("exponent", [-1074, -1030, -700, -300, 0, 300, 700, 1023])
def test_the_norm_of_float64_values_neither_overflows_nor_vanishes(rows: StatisticRows, exponent: int) -> None:
    x = torch.full((5000,), 2.0**exponent, dtype=torch.float64)[: 5000 if exponent < 1000 else 1]
    columns = rows.columns([rows.add(x)])
    expected = np.ldexp(np.sqrt(len(x)), exponent)
    np.testing.assert_allclose(columns["l2"][0], expected, rtol=1e-6)
    assert columns["l2"].dtype == ("<f8" if abs(exponent) >= 300 else "<f4")
    assert columns["count"].dtype == "<u8"


def test_columns_are_narrow_where_values_fit_float32_and_wide_only_where_they_do_not(rows: StatisticRows) -> None:
    rows.add(torch.tensor([1.5], dtype=torch.float64))
    rows.add(torch.tensor([float("inf"), 2.0], dtype=torch.float64))
    assert {name: column.dtype.str.replace("|", "<") for name, column in rows.columns().items()} == STATISTIC_DTYPES
    rows.add(torch.tensor([1e300, 1.0], dtype=torch.float64))
    wide = {name for name, column in rows.columns().items() if column.dtype == "<f8"}
    assert wide == {"max", "mean", "l1", "l2"}


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOAT8], ids=str)
def test_integers_booleans_and_float8_are_counted_by_value(rows: StatisticRows, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(1)
    if dtype.is_floating_point:
        x = torch.randint(0, 256, (9001,), generator=random).to(torch.uint8).view(dtype)
        smallest = torch.finfo(dtype).smallest_normal
    else:
        high = 2 if dtype == torch.bool else 100
        x, smallest = torch.randint(0, high, (9001,), generator=random).to(dtype), 0.0
    assert_row(rows, rows.add(x), as_doubles(x), smallest)


def test_without_finite_values_there_is_no_range_and_no_mean_but_norms_of_zero(rows: StatisticRows) -> None:
    for x in (torch.tensor([float("nan")] * 3), torch.empty(0), torch.tensor(float("-inf"))):
        got = {name: column[0] for name, column in rows.columns([rows.add(x)]).items()}
        assert all(np.isnan(got[name]) for name in ("min", "max", "mean"))
        assert got["l1"] == got["l2"] == 0


def layouts() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    x = torch.randn(6, 50, 40, generator=random)
    return {
        "transposed": x[0].t(),
        "permuted": x.permute(2, 0, 1),
        "channels last": torch.randn(2, 3, 8, 8, generator=random).to(memory_format=torch.channels_last),
        "sliced": x[:, 3:20, ::2],
        "every third": x.reshape(-1)[5::3],
        "many blocks with holes": torch.randn(300, 70, generator=random)[:, :51],
        "expanded scalar": torch.tensor(0.7).expand(1000, 3),
        "expanded row": x[0, :1].expand(50, 40),
        "expanded slice": x[:, :1, 5:9].expand(6, 50, 4),
        "overlapping windows": x.reshape(-1).unfold(0, 10, 3),
        "zero-dimensional": torch.tensor(-3.0),
        "offset": x.reshape(-1)[7:],
        "parameter": torch.nn.Parameter(x),
        "negated view": torch.randn(50, dtype=torch.complex64, generator=random).conj().imag,
        "bfloat16 with holes": x.to(torch.bfloat16)[:, ::2, 1:],
        "float64 with holes": x.double()[:, ::2, 1:],
        "float8 with holes": x.to(torch.float8_e4m3fn)[:, ::2, 1:],
        "expanded bool": torch.tensor([True, False]).reshape(2, 1).expand(2, 30),
        "empty with strides": x[:0].transpose(1, 2),
    }


@pytest.mark.parametrize("name", layouts())
def test_every_layout_gives_the_statistics_of_its_elements(rows: StatisticRows, name: str) -> None:
    x = layouts()[name]
    before = x.clone()
    smallest = torch.finfo(x.dtype).smallest_normal if x.dtype.is_floating_point else 0.0
    assert_row(rows, rows.add(x), as_doubles(x), smallest)
    assert torch.equal(x.to(torch.float64), before.to(torch.float64))


def test_an_expanded_tensor_is_read_without_making_room_for_its_elements(rows: StatisticRows) -> None:
    huge = torch.tensor([2.0, 0.0]).expand(10**12, 2)
    columns = rows.columns([rows.add(huge)])
    assert columns["count"][0] == 2 * 10**12
    assert columns["zeros"][0] == 10**12
    np.testing.assert_allclose(columns["l2"][0], 2e6, rtol=1e-6)


@pytest.mark.parametrize("form", ["plain", "lazily conjugated"])
def test_complex_tensors_are_read_as_their_real_and_imaginary_parts(rows: StatisticRows, form: str) -> None:
    x = torch.complex(torch.arange(1.0, 6.0), torch.tensor([0.0, 1.0, -9.0, float("nan"), 2.0]))
    x = x.conj() if form == "lazily conjugated" else x
    columns = rows.columns([rows.add(x)])
    parts = torch.view_as_real(x.resolve_conj()).double().numpy().ravel()
    assert columns["count"][0] == 10
    assert_row(rows, len(rows) - 1, parts, torch.finfo(torch.float32).smallest_normal)


def sparse_tensors() -> dict[str, torch.Tensor]:
    indices = torch.tensor([[0, 2, 2, 0], [1, 0, 0, 1]])
    duplicated = torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2.0, -5.0, 3.0]), (4, 5))
    return {
        "coalesced": duplicated.coalesce(),
        "not coalesced": duplicated,
        "hybrid": torch.sparse_coo_tensor(torch.tensor([[1, 3]]), torch.randn(2, 6), (5, 6)),
        "csr": duplicated.to_dense().to_sparse_csr(),
        "none stored": torch.zeros(3, 3).to_sparse(),
    }


@pytest.mark.parametrize("name", ["coalesced", "not coalesced", "hybrid", "csr", "none stored"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_count_their_implicit_zeros_and_sum_their_duplicates(rows: StatisticRows, name: str) -> None:
    x = sparse_tensors()[name]
    was_coalesced = x.is_coalesced() if x.layout == torch.sparse_coo else None
    assert_row(rows, rows.add(x), as_doubles(x.to_dense()), torch.finfo(torch.float32).smallest_normal)
    assert was_coalesced is None or x.is_coalesced() == was_coalesced


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_give_the_statistics_of_all_their_parts(rows: StatisticRows, layout: torch.layout) -> None:
    parts = [torch.randn(2, 3), torch.randn(4, 3)]
    x = torch.nested.nested_tensor(parts, layout=layout)
    values = np.concatenate([as_doubles(part) for part in parts])
    assert_row(rows, rows.add(x), values, torch.finfo(torch.float32).smallest_normal)
    if layout is torch.strided:
        assert_row(rows, rows.add(x.transpose(1, 2)), values, torch.finfo(torch.float32).smallest_normal)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_many_tensors_at_once_give_the_rows_of_one_by_one(rows: StatisticRows) -> None:
    tensors = [*(planted(dtype, 300, 7) for dtype in FLOATS), *layouts().values(), None, torch.empty(2, device="meta")]
    one_by_one = [rows.add(x) for x in tensors]
    together = rows.add_many(tensors)
    assert [number < 0 for number in together] == [number < 0 for number in one_by_one]
    a = rows.columns([number for number in one_by_one if number >= 0])
    b = rows.columns([number for number in together if number >= 0])
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_the_kernel_and_torch_agree_to_the_bit_on_counts_and_closely_on_sums(kernel: Kernel) -> None:
    compiled, plain = StatisticRows(histogram=True, kernel=kernel), StatisticRows(histogram=True, kernel=None)
    for seed, size in enumerate([9000, 4097, 100, 70_000]):
        for dtype in FLOATS:
            x = planted(dtype, size, seed + 30)
            compiled.add(x)
            plain.add(x)
    a, b = compiled.columns(), plain.columns()
    for name in a:
        if name == "mean":
            assert (np.abs(a[name] - b[name]) <= 1e-6 * a["l1"] / a["count"]).all()
        else:
            np.testing.assert_allclose(a[name], b[name], rtol=0 if a[name].dtype == "<u8" else 1e-6)
    np.testing.assert_array_equal(compiled.histogram_codes(), plain.histogram_codes())


def _worse_and_worse(dtype: torch.dtype, size: int) -> list[torch.Tensor]:
    tensors = [torch.ones(size, dtype=dtype) for _ in range(3)]
    tensors[1][-1], tensors[2][-1] = math.inf, math.nan
    return tensors


@pytest.mark.parametrize("versions", [0, 1])
def test_every_instruction_set_gives_the_same_bits(
    kernel: Kernel, versions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = build_script()
    if script.find_compiler()[0].endswith("cl"):
        pytest.skip("MSVC compiles the plain body alone")
    monkeypatch.setenv("CC", f"{' '.join(script.find_compiler())} -DX86_VERSIONS={versions if X86 else 0}")
    other = load_kernel(script.build(tmp_path / script.LIBRARY.name))
    assert other is not None
    both = (kernel, other)
    tables = [StatisticRows(histogram=True, kernel=each) for each in both]
    for seed, size in enumerate([9000, 4097, 100, 70_000, 1023]):
        for dtype in FLOATS:
            for rows in tables:
                rows.add(planted(dtype, size, seed))
            for each in both:
                found = [each.level(x.data_ptr(), size, CODES[dtype]) for x in _worse_and_worse(dtype, size)]
                assert found == [0, 1, 2]
    first, second = (rows._gather(None).tobytes() for rows in tables)
    assert first == second


@pytest.mark.parametrize("versions", [0, 1, 2])
def test_blocks_of_every_kind_beside_each_other_agree_with_a_float64_reference(
    versions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = build_script()
    if script.find_compiler()[0].endswith("cl"):
        pytest.skip("MSVC compiles the plain body alone")
    monkeypatch.setenv("CC", f"{' '.join(script.find_compiler())} -DX86_VERSIONS={versions if X86 else 0}")
    rows = StatisticRows(histogram=True, kernel=load_kernel(script.build(tmp_path / script.LIBRARY.name)))
    for seed in range(12):
        x = _blocks_of_every_kind(np.random.default_rng(seed))
        assert_row(
            rows, rows.add(torch.from_numpy(x)), x.astype(np.float64), torch.finfo(torch.float32).smallest_normal
        )


def _blocks_of_every_kind(random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Blocks of 4096 in any order: regular, of one, some and all exponents, huge, tiny, with zeros, NaN and Inf."""
    normal = random.standard_normal((8, 4096))
    kinds = [normal[0], normal[1] * 1e20, normal[2] * 1e-20, normal[3] * 1e-43]
    kinds += [np.ones(4096), np.exp2(random.uniform(-20, 20, 4096)), np.exp2(random.uniform(-149, 127, 4096))]
    kinds += [np.where(random.random(4096) < share, 0.0, normal[4]) for share in (0.01, 0.5, 0.999, 1.0)]
    kinds += [np.where(random.random(4096) < 0.01, bad, normal[5]) for bad in (np.nan, np.inf, -np.inf)]
    order = random.permutation(len(kinds))
    return np.concatenate([*(kinds[i] for i in order), normal[6][: random.integers(1, 4096)]]).astype(np.float32)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int32], ids=str)
def test_the_level_of_a_tensor_is_that_of_its_worst_value_wherever_it_stands(
    rows: StatisticRows, dtype: torch.dtype
) -> None:
    for size in SIZES[1:]:
        for place in {0, size // 2, size - 1}:
            for worst, level in ((1.0, 0), (-math.inf, 1), (math.inf, 1), (math.nan, 2), (-math.nan, 2)):
                if level and not dtype.is_floating_point:
                    continue
                x = torch.full((size,), torch.finfo(dtype).max if dtype.is_floating_point else 1, dtype=dtype)
                x[place] = worst
                assert rows.level_of(x) == level
                assert rows.level_of(x.expand(2, size)) == level
    x = torch.tensor([math.inf, math.nan, math.inf], dtype=torch.float64)
    assert rows.level_of(x) == 2
    assert rows.level_of(x[::2]) == 1
    assert len(rows) == 0


def test_histogram_codes_give_back_every_count_within_four_and_a_half_percent(rows: StatisticRows) -> None:
    x = torch.cat([torch.full((n,), 2.0**k) for k, n in enumerate([1, 2, 3, 7, 100, 12345, 30000])])
    codes = rows.histogram_codes([rows.add(x)])
    assert codes.dtype == np.uint8
    assert codes.shape == (1, HISTOGRAM_BINS)
    counts = exact_histogram(rows, 0).astype(float)
    assert ((codes[0] == 0) == (counts == 0)).all()
    back = counts_from_codes(codes)[0]
    assert (np.abs(back - counts) <= 0.045 * counts).all()


def test_rows_taken_without_a_histogram_have_none_and_the_switch_works_at_any_time(rows: StatisticRows) -> None:
    x = torch.ones(8)
    rows.histogram = False
    without = rows.add(x)
    rows.histogram = True
    with_one = rows.add(x)
    codes = rows.histogram_codes([without, with_one])
    assert not codes[0].any()
    assert codes[1, -HISTOGRAM_LOWEST_EXPONENT] == 1 + round(8 * np.log2(8))


def test_rows_outgrow_their_first_chunk_and_start_again_after_clear(rows: StatisticRows) -> None:
    numbers = [rows.add(torch.full((3,), float(k))) for k in range(1000)]
    assert numbers == list(range(1000))
    np.testing.assert_array_equal(rows.columns()["max"], np.arange(1000, dtype=np.float32))
    np.testing.assert_array_equal(rows.columns([999, 2, 2])["max"], [999, 2, 2])
    rows.clear()
    assert len(rows) == 0
    assert len(rows.columns()["count"]) == 0
    assert rows.add(torch.ones(1)) == 0
    with pytest.raises(IndexError, match="1"):
        rows.columns([1])


def test_threads_may_add_to_one_table_at_the_same_time(rows: StatisticRows) -> None:
    tensors = [torch.full((200,), float(k)) for k in range(4)]
    taken: list[list[int]] = [[] for _ in tensors]

    def add(k: int) -> None:
        for _ in range(300):
            taken[k].append(rows.add(tensors[k]))

    threads = [threading.Thread(target=add, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for numbers in taken for number in numbers) == list(range(1200))
    for k, numbers in enumerate(taken):
        assert (rows.columns(numbers)["min"] == k).all()
        assert (rows.columns(numbers)["count"] == 200).all()


class Plain(torch.Tensor):
    """A subclass without dispatch of its own: its memory is an ordinary tensor's."""


class Failing(torch.Tensor):
    """A subclass whose torch function refuses everything."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} was seen by the subclass")


@pytest.mark.parametrize("kind", [Plain, Failing])
def test_plain_subclasses_are_read_without_calling_their_torch_function(rows: StatisticRows, kind: Any) -> None:
    with torch._C.DisableTorchFunction():
        x = torch.arange(6.0).as_subclass(kind)
    row = rows.add(x)
    assert row >= 0, rows.why_not
    assert rows.columns([row])["max"][0] == 5


NOT_OBSERVABLE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from gradwatch.capture.statistics import StatisticRows, resolve
from gradwatch.capture.statistics_cpu import load_kernel
from pathlib import Path
kernel = load_kernel(Path(sys.argv[1])) if sys.argv[1] else None
rows = StatisticRows(histogram=True, kernel=kernel)

def refused(tensor, words):
    assert rows.add(tensor) == -1, words
    assert words in rows.why_not, (words, rows.why_not)
    assert rows.add_many([tensor, tensor]) == [-1, -1]
    return tensor

torch.vmap(lambda x: refused(x, "functorch") * 2)(torch.randn(3, 4))
torch.func.grad(lambda x: refused(x, "functorch").sum())(torch.randn(3))
torch.func.jvp(lambda x: refused(x, "functorch").sum(), (torch.randn(3),), (torch.randn(3),))
torch.func.functionalize(lambda x: refused(x, "functorch") * 2)(torch.randn(3))
refused(torch._to_functional_tensor(torch.randn(3)), "functionalised")
refused(torch.empty(3, device="meta"), "meta")
refused(None, "not a tensor")
refused(torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8), "quantized")
refused(torch.randn(3, 3).to_mkldnn(), "mkldnn")
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    fake = torch.empty(3)
    refused(fake, "fake")
refused(fake, "fake")

freed = torch.randn(1000)
view = freed[100:]
freed.untyped_storage().resize_(0)
refused(freed, "freed")
refused(view, "freed")

class Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
    def __init__(self, inner):
        self.inner = inner
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("dispatched " + str(func))
refused(Wrapper(torch.randn(3)), "does not say")

class Traceable(Wrapper):
    def __tensor_flatten__(self):
        return ["inner"], None
assert rows.columns([rows.add(Traceable(torch.arange(4.0)))])["max"][0] == 3

from torch.testing._internal.two_tensor import TwoTensor
refused(TwoTensor(torch.randn(3), torch.randn(3)), "no single part")

zero = torch._efficientzerotensor(7)
assert rows.columns([rows.add(zero)])["zeros"][0] == 7
print("alive")
"""


@pytest.mark.parametrize("backend", ["kernel", "torch"])
def test_tensors_without_memory_of_their_own_are_refused_with_a_reason_and_never_crash(
    backend: str, kernel: Kernel, tmp_path: Path
) -> None:
    script = build_script()
    library = script.build(tmp_path / script.LIBRARY.name) if backend == "kernel" else ""
    done = run_python(NOT_OBSERVABLE, str(library))
    assert done.stdout.strip() == "alive", done.stderr


DISTRIBUTED = """
import os, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed._functional_collectives import all_reduce, AsyncCollectiveTensor
from gradwatch.capture.statistics import StatisticRows
dist.init_process_group("gloo", init_method="file://" + os.environ["STORE"], rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
rows = StatisticRows()
row = rows.add(distribute_tensor(torch.arange(8.0), mesh, [Shard(0)]))
assert rows.columns([row])["max"][0] == 7 and rows.labels == {row: "local part"}, rows.why_not
waiting = all_reduce(torch.ones(3), "sum", mesh)
assert isinstance(waiting, AsyncCollectiveTensor)
assert rows.add(waiting) == -1 and "waited" in rows.why_not
assert not waiting.completed
dist.destroy_process_group()
print("alive")
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_dtensors_give_their_local_part_and_collectives_are_not_waited_for(tmp_path: Path) -> None:
    done = run_python(DISTRIBUTED, STORE=str(tmp_path / "store"))
    assert done.stdout.strip() == "alive", done.stderr


def run_python(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "kernel_ext"), **variables}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def awkward() -> list[torch.Tensor]:
    """Tensors that the torch path needs operations for."""
    return [
        torch.randn(40, 30)[:, ::2],
        torch.randn(5, dtype=torch.complex64),
        torch.eye(4).to_sparse(),
        torch.randn(9, requires_grad=True) * 2,
        torch.randn(100).to(torch.float8_e5m2)[::2],
    ]


def test_modes_autocast_and_grad_mode_of_the_program_see_nothing(rows: StatisticRows) -> None:
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError(f"{func} was seen")

    class Dispatches(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError(f"{func} was seen")

    tensors = [torch.randn(10), *awkward()]
    state = torch.get_rng_state()
    with Functions(), Dispatches(), torch.autocast("cpu"):
        numbers = [rows.add(x) for x in tensors]
        modes = (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))
    assert modes == (True, True)
    assert min(numbers) >= 0, rows.why_not
    assert torch.equal(torch.get_rng_state(), state)
    assert all(x._version == 0 or x.is_sparse for x in tensors)


def test_inside_a_functorch_transform_plain_tensors_are_still_read(rows: StatisticRows) -> None:
    outside = torch.arange(12.0).reshape(3, 4)[:, ::2]
    seen: list[int] = []

    def body(x: torch.Tensor) -> torch.Tensor:
        seen.append(rows.add(outside))
        return x.sum()

    torch.vmap(torch.func.grad(body))(torch.randn(2, 3))
    assert rows.columns(seen)["max"][0] == 10


def test_operations_of_ours_leave_no_trace_in_autograd() -> None:
    x = torch.randn(4, requires_grad=True)
    with unseen():
        y = x * 2
    assert y.grad_fn is None
    assert torch.is_grad_enabled()


def test_adding_a_plain_tensor_allocates_nothing_in_proportion_to_it(rows: StatisticRows) -> None:
    from torch.profiler import ProfilerActivity, profile

    x = torch.randn(1_000_000)
    rows.add(x)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        rows.add(x)
        rows.add(x.view(1000, 1000)[:, ::2])
    largest = max((event.cpu_memory_usage for event in run.events() or []), default=0)
    assert largest <= (1 << 20)


def test_denormal_numbers_stay_on_after_the_kernel_was_loaded(kernel: Kernel) -> None:
    StatisticRows(kernel=kernel).add(torch.full((5000,), 1e-42))
    tiny = np.full(4, 1e-40, np.float32)
    assert (tiny * np.float32(1.0) != 0).all()
    assert (torch.full((64,), 1e-40) * 1.0 != 0).all()
    assert 5e-324 * 1.0 != 0


def pointers(*arrays: np.ndarray[Any, Any]) -> list[int]:
    return [array.ctypes.data for array in arrays]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_change_of_small_parameters_is_exact_and_that_of_large_ones_close(
    kernel: Kernel, dtype: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(0)
    before = [torch.randn(n, generator=random).to(dtype) for n in (0, 1, 777, 16384, 16385, 400_000)]
    after = [x.clone() for x in before]
    room = np.cumsum([0, *(min(x.numel(), 16384) * x.element_size() for x in before)]).astype(np.int64)
    buffer, squares = np.zeros(room[-1], np.uint8), np.zeros(2 * len(before))
    common = (
        np.array([x.data_ptr() for x in after], np.uintp),
        np.array([x.numel() for x in after], np.int64),
        np.full(len(after), CODES[dtype], np.int32),
        room,
    )
    empty_is_null = common[0][0] == 0
    assert kernel.sample(len(after), *pointers(*common, buffer)) == 0
    for x in after:
        x.add_((0.01 * torch.randn(x.shape, generator=random)).to(dtype))
    assert kernel.update(len(after), *pointers(*common, buffer, squares)) == 0
    assert empty_is_null
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        kept, change = as_doubles(old), as_doubles(new) - as_doubles(old)
        scale = max(1.0, old.numel() / 16384)
        rtol = 1e-9 if old.numel() <= 16384 else 0.05
        np.testing.assert_allclose(squares[2 * k] * scale, np.square(kept).sum(), rtol=rtol)
        np.testing.assert_allclose(squares[2 * k + 1] * scale, np.square(change).sum(), rtol=rtol)


def test_a_sample_follows_neither_one_column_nor_one_part_of_a_matrix(kernel: Kernel) -> None:
    x = torch.arange(16384 * 64, dtype=torch.float64)
    buffer = np.zeros(16384)
    arrays = (np.array([x.data_ptr()], np.uintp), np.array([x.numel()]), np.array([1], np.int32), np.zeros(1, np.int64))
    assert kernel.sample(1, *pointers(*arrays, buffer)) == 0
    taken = buffer.astype(np.int64)
    assert len(np.unique(taken)) == 16384
    rows_seen = np.bincount(taken // (16384 * 4), minlength=16)
    columns_seen = np.bincount(taken % 1024 // 64, minlength=16)
    assert (rows_seen == 1024).all()
    assert columns_seen.min() > 0.8 * 1024


def test_a_parameter_that_cannot_be_sampled_reads_nan_and_spares_the_others(kernel: Kernel) -> None:
    x = torch.ones(4)
    arrays = (
        np.array([0, x.data_ptr()], np.uintp),
        np.array([4, 4]),
        np.zeros(2, np.int32),
        np.array([0, 64]),
    )
    buffer, squares = np.zeros(256, np.uint8), np.zeros(4)
    assert kernel.sample(2, *pointers(*arrays, buffer)) == 1
    assert kernel.update(2, *pointers(*arrays, buffer, squares)) == 1
    np.testing.assert_array_equal(squares, [np.nan, np.nan, 4, 0])


def test_resolve_names_the_parts_of_a_tensor_and_what_they_leave_out() -> None:
    plain = torch.randn(3)
    resolved = resolve(plain)
    assert resolved.tensors[0].data_ptr() == plain.data_ptr()
    assert resolved.label is None
    assert resolved.unobserved is None
    assert resolve("text").unobserved == "not a tensor"


def test_a_library_that_is_not_ours_or_of_another_version_is_not_loaded(tmp_path: Path) -> None:
    assert load_kernel(tmp_path / "absent.so") is None
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    assert load_kernel(broken) is None


def source_copy(directory: Path) -> Path:
    """The files a wheel is built from, with the texts that may not be written yet."""
    import shutil

    ignore = shutil.ignore_patterns("*.so", "*.dylib", "*.dll", "__pycache__", "static")
    shutil.copytree(ROOT / "kernel_ext", directory / "kernel_ext", ignore=ignore)
    for name in ("pyproject.toml", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, directory / name)
    for name in ("README.md", "CHANGELOG.md"):
        (directory / name).write_text("gradwatch\n")
    page = directory / "kernel_ext" / "gradwatch" / "static"
    page.mkdir()
    for name in ("widget.js", "widget.css"):
        (page / name).touch()
    return directory


def build_wheel(source: Path, into: Path, **variables: str) -> tuple[Path, str]:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel and is not installed")
    into.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel, done.stdout + done.stderr


def test_a_wheel_carries_the_kernel_for_every_python_of_its_platform(kernel: Kernel, tmp_path: Path) -> None:
    wheel, _ = build_wheel(source_copy(tmp_path / "source"), tmp_path / "wheel")
    system = sysconfig.get_platform().split("-")[0]
    assert "-py3-none-" in wheel.name
    assert system in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert f"gradwatch/capture/{build_script().LIBRARY.name}" in names


def test_without_a_compiler_the_wheel_is_pure_and_says_so(tmp_path: Path) -> None:
    source = source_copy(tmp_path / "source")
    left_over = source / "kernel_ext" / "gradwatch" / "capture" / build_script().LIBRARY.name
    left_over.write_bytes(b"from an earlier build")
    wheel, output = build_wheel(source, tmp_path / "wheel", CC=str(tmp_path / "no-such-compiler"))
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "computed in torch" in output
    assert f"gradwatch/capture/{left_over.name}" not in zipfile.ZipFile(wheel).namelist()

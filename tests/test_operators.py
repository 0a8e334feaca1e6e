"""Every differentiable operator and module of torch's own databases is bit-identical while it is recorded.

And the session has the graph, the saved tensors and the gradients that were there.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, get_args

import pytest
import torch

from gradwatch import watch
from gradwatch.records import Detail
from operator_checks import Expected, check, differing, run
from operators import error_cases, in_place_cases, module_cases, module_error_cases, operator_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from operators import Case

    Maker = Callable[[torch.dtype, int], Iterator[Case]]

OPERATOR_DTYPES = (
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.bfloat16,
    torch.float16,
)
MODULE_DTYPES = (torch.float32, torch.float64)
ALL = 100_000


@lru_cache(2)
def expected(maker: Maker, dtype: torch.dtype, most: int) -> Expected:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of how the samples are made
        cases = list(maker(dtype, most))
    assert len({case.subject for case in cases}) > 50
    return Expected(cases)


class Recording(NamedTuple):
    path: Path
    detail: Detail


@pytest.fixture(params=get_args(Detail))
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    return Recording(tmp_path / "run.gradwatch", request.param)


def check_all(cases: Expected, recording: Recording) -> None:
    unsteady = check(cases, recording.path, recording.detail)
    if unsteady:
        warnings.warn(f"gives other bits from run to run, also alone: {', '.join(unsteady)}", stacklevel=2)


def test_operators_are_recorded_as_they_are(recording: Recording) -> None:
    check_all(expected(operator_cases, torch.float32, 1), recording)


def test_operators_that_write_in_place_are_recorded_as_they_are(recording: Recording) -> None:
    check_all(expected(in_place_cases, torch.float32, 1), recording)


def test_modules_are_recorded_as_they_are(recording: Recording) -> None:
    check_all(expected(module_cases, torch.float32, 1), recording)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bfloat16], ids=str)
def test_operators_of_other_dtypes_are_recorded_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    check_all(expected(operator_cases, dtype, 1), Recording(tmp_path / "run.gradwatch", "nodes"))


def test_what_operators_refuse_they_refuse_alike(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of how the inputs are made
        cases = [*error_cases(), *module_error_cases(torch.float32)]
    alone = run(cases)
    assert len(cases) > 100
    with watch(path=tmp_path / "run.gradwatch", detail="nodes"):
        found = run(cases)
    assert differing(found, alone) == []


@pytest.mark.full
@pytest.mark.parametrize("dtype", OPERATOR_DTYPES, ids=str)
def test_every_sample_of_every_operator_is_recorded_as_it_is(recording: Recording, dtype: torch.dtype) -> None:
    check_all(expected(operator_cases, dtype, ALL), recording)


@pytest.mark.full
@pytest.mark.parametrize("dtype", OPERATOR_DTYPES, ids=str)
def test_every_sample_of_every_operator_in_place_is_recorded_as_it_is(recording: Recording, dtype: torch.dtype) -> None:
    check_all(expected(in_place_cases, dtype, ALL), recording)


@pytest.mark.full
@pytest.mark.parametrize("dtype", MODULE_DTYPES, ids=str)
def test_every_sample_of_every_module_is_recorded_as_it_is(recording: Recording, dtype: torch.dtype) -> None:
    check_all(expected(module_cases, dtype, ALL), recording)

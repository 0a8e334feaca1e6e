"""Every differentiable operator and module of torch's own databases: bit-identical while it is recorded."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import pytest
import torch

from gradwatch import open as open_session
from gradwatch import watch
from gradwatch.records import Detail
from operators import module_cases, operator_cases

if TYPE_CHECKING:
    from pathlib import Path

    from operators import Case, Outcome

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.bfloat16)
ATTEMPTS = 8
"""Some operators (least squares in LAPACK) give one of several results, by where their memory happens to lie."""


Maker = Literal["operators", "modules"]


@cache
def cases_of(maker: Maker, dtype: torch.dtype, most: int) -> list[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of how the samples are made
        made = list((operator_cases if maker == "operators" else module_cases)(dtype, most))
    assert len(made) > 50
    return made


@cache
def unrecorded(maker: Maker, dtype: torch.dtype, most: int) -> dict[str, Outcome]:
    return run(cases_of(maker, dtype, most))


def run(cases: list[Case]) -> dict[str, Outcome]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what the samples use
        return {case.name: case.run() for case in cases}


def check(maker: Maker, dtype: torch.dtype, most: int, recording: Recording) -> None:
    cases, expected = cases_of(maker, dtype, most), unrecorded(maker, dtype, most)
    with watch(path=recording.path, detail=recording.detail):
        found = run(cases)
    differ = [case for case in cases if found[case.name] != expected[case.name]]
    assert [case.name for case in differ if not any(case.run() == found[case.name] for _ in range(ATTEMPTS))] == []
    with open_session(recording.path) as session:
        assert [notice.text for notice in session.notices if notice.kind == "probe stopped"] == []
        assert len(session.steps) > 0


class Recording(NamedTuple):
    path: Path
    detail: Detail


@pytest.fixture(params=get_args(Detail))
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    return Recording(tmp_path / "run.gradwatch", request.param)


def test_operators_give_the_same_bits(recording: Recording) -> None:
    check("operators", torch.float32, 1, recording)


def test_modules_give_the_same_bits(recording: Recording) -> None:
    check("modules", torch.float32, 1, recording)


@pytest.mark.full
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_sample_of_every_operator_gives_the_same_bits(recording: Recording, dtype: torch.dtype) -> None:
    check("operators", dtype, 1000, recording)


@pytest.mark.full
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_sample_of_every_module_gives_the_same_bits(recording: Recording, dtype: torch.dtype) -> None:
    check("modules", dtype, 1000, recording)
